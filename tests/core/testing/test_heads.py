"""A right head passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs
import pytest
import torch
from torch import Tensor, nn

from a2a_core import A2AError, Fused, HeadConfig, Widths, option
from a2a_core.components import Column
from a2a_core.testing.reference import ReferenceHead


class Target:
    """A class's name to its number."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)

    def __call__(self, fields: Mapping[str, Any]) -> int | None:
        label = fields.get("label")
        if label is not None and label not in self.classes:
            raise ValueError(f"`label`: there is no class {label!r}")
        return None if label is None else self.classes.index(label)

    def pad(self, targets: Sequence[int | None]) -> dict[str, Tensor]:
        return {"label": torch.tensor([-100 if target is None else target for target in targets])}


class Module(nn.Module):
    """Pooled vectors to logits; the mean of the image's tokens helps."""

    def __init__(self, spec: Widths, classes: int) -> None:
        super().__init__()
        assert spec.width is not None
        self.linear, self.image = nn.Linear(spec.width, classes), nn.Linear(spec.parts["image"], classes)
        self.dropout = nn.Dropout(0.1)

    def seen(self, fused: Fused) -> Tensor:
        values, mask = fused.parts["image"][:2]
        return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)

    def logits(self, fused: Fused) -> Tensor:
        return self.linear(self.dropout(fused.pooled)) + self.image(self.seen(fused))

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        return {"logits": self.logits(fused)}

    def predict(self, outputs: Mapping[str, Tensor]) -> list[Any]:
        return outputs["logits"].argmax(-1).tolist()


class Good(HeadConfig):
    """Classes by name, learned from the rows."""

    name = "good"
    module: ClassVar[type[nn.Module]] = Module
    target: ClassVar[type[Any]] = Target
    classes: tuple[str, ...] = option("names of the classes (empty: those of the rows)", default=())

    def resolved(self, column: Column) -> Self:
        return self if self.classes else attrs.evolve(self, classes=tuple(sorted({str(label) for label in column("label")})))

    def processor(self) -> Any:
        return self.target(self.classes)

    def build(self, spec: Widths) -> nn.Module:
        return self.module(spec, len(self.classes))

    def examples(self) -> Sequence[Mapping[str, Any]]:
        return [{"label": "cat"}, {"label": "dog"}, {"label": "owl"}]


@pytest.mark.parametrize(
    "component", [Good, Good(classes=("cat", "dog", "owl")), ReferenceHead, ReferenceHead(field="x")], ids=str
)
def test_a_right_head_passes_every_check(judge: Any, component: Any) -> None:
    assert judge(component) == set()
    assert judge.skips(component) == {"refills_its_buffers"}


class IgnoresTheMask(Module):
    def seen(self, fused: Fused) -> Tensor:
        return fused.parts["image"].values.mean(1)


class NormalisesByTheBatch(Module):
    def __init__(self, spec: Widths, classes: int) -> None:
        super().__init__(spec, classes)
        self.norm = nn.BatchNorm1d(classes)

    def logits(self, fused: Fused) -> Tensor:
        return self.norm(super().logits(fused))


class PredictsTensors(Module):
    def predict(self, outputs: Mapping[str, Tensor]) -> list[Any]:
        return list(outputs["logits"].argmax(-1))


class PredictsOneForAll(Module):
    def predict(self, outputs: Mapping[str, Tensor]) -> list[Any]:
        return [int(outputs["logits"].argmax())]


class ReturnsATensor(Module):
    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> Any:
        return self.logits(fused)


class IsInfinite(Module):
    def logits(self, fused: Fused) -> Tensor:
        return super().logits(fused).masked_fill(torch.ones(3, dtype=torch.bool).to(fused.pooled.device), -torch.inf)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("module", "check", "says", "besides"),
    [
        (IgnoresTheMask, "padding_is_invisible", "`logits` of sample 0", set()),
        (NormalisesByTheBatch, "neighbours_are_invisible", "(training mode)", set()),
        (PredictsTensors, "predicts_a_value_for_each_sample", "tensor.tolist()", set()),
        (PredictsOneForAll, "predicts_a_value_for_each_sample", "1 values for 3 samples", set()),
        (ReturnsATensor, "predicts_a_value_for_each_sample", "a dict of tensors", None),
        (IsInfinite, "predicts_a_value_for_each_sample", "not finite", None),
    ],
)
def test_a_faulty_module_is_caught(judge: Any, module: type[Module], check: str, says: str, besides: set[str] | None) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "module": module})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}


class InsistsOnALabel(Target):
    def __call__(self, fields: Mapping[str, Any]) -> int | None:
        return self.classes.index(fields["label"]) if fields["label"] in self.classes else None


class TakesNoneForAClass(Target):
    def __call__(self, fields: Mapping[str, Any]) -> int | None:
        return super().__call__({"label": fields.get("label") or "cat"})


class CannotPadNone(Target):
    def pad(self, targets: Sequence[int | None]) -> dict[str, Tensor]:
        return {"label": torch.tensor(targets)}


class LeavesNoneOut(Target):
    def pad(self, targets: Sequence[int | None]) -> dict[str, Tensor]:
        return super().pad([target for target in targets if target is not None])


class HoldsALambda(Target):
    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__(classes)
        self.look = lambda name: self.classes.index(name)


class SortsInCopies(Target):
    def __setstate__(self, state: dict[str, Any]) -> None:
        self.classes = state["classes"][::-1]


class PassesErrorsOn(Target):
    def __call__(self, fields: Mapping[str, Any]) -> int | None:
        label = fields.get("label")
        return None if label is None else dict(zip(self.classes, range(9), strict=False))[label]


class FailsWithoutAWord(Target):
    def __call__(self, fields: Mapping[str, Any]) -> int | None:
        try:
            return super().__call__(fields)
        except ValueError:
            raise ValueError from None


@pytest.mark.parametrize(
    ("target", "check", "says"),
    [
        (InsistsOnALabel, "targets_are_encoded", "a row without its field, raises KeyError"),
        (TakesNoneForAClass, "targets_are_encoded", "is encoded as 0"),
        (CannotPadNone, "targets_are_encoded", "1 of them None raises RuntimeError"),
        (LeavesNoneOut, "targets_are_encoded", "dimension 0 = samples"),
        (HoldsALambda, "target_processor_is_picklable", "a lambda"),
        (SortsInCopies, "target_processor_is_picklable", "`label` of a pickled target processor differs"),
        (PassesErrorsOn, "wrong_targets_are_value_errors", "a target of nan raises KeyError"),
        (FailsWithoutAWord, "wrong_targets_are_value_errors", "has no message"),
    ],
)
def test_a_faulty_target_processor_is_caught(judge: Any, target: type[Target], check: str, says: str) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "target": target})
    assert says in judge.says(faulty, check)
    assert {check} <= judge(faulty) <= {check, "targets_are_encoded", "wrong_targets_are_value_errors"}


class TakesNaN(ReferenceHead):
    """Takes any number, NaN too."""

    def processor(self) -> Any:
        return AnyNumber(self.field)


class AnyNumber:
    def __init__(self, field: str) -> None:
        self.field = field

    def __call__(self, fields: Mapping[str, Any]) -> float | None:
        return None if fields.get(self.field) is None else float(fields[self.field])

    def pad(self, targets: Sequence[float | None]) -> dict[str, Tensor]:
        return {"value": torch.tensor([0.0 if target is None else target for target in targets])}


def test_a_nan_target_must_be_refused(judge: Any) -> None:
    assert judge(TakesNaN) == {"wrong_targets_are_value_errors"}
    assert "a target of nan is encoded as nan" in judge.says(TakesNaN, "wrong_targets_are_value_errors")


class AsksForRowsAgain(Good):
    """Learns its classes from the rows whenever it is resolved."""

    def resolved(self, column: Column) -> Self:
        return attrs.evolve(self, classes=tuple(sorted({str(label) for label in column("label")})))


def test_what_was_resolved_needs_no_rows(judge: Any) -> None:
    assert judge(AsksForRowsAgain) == {"resolved_is_self_contained"}
    assert "training rows' `label`" in judge.says(AsksForRowsAgain, "resolved_is_self_contained")


class Unembeds(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        assert fused.unembed is not None
        assert fused.tokens is not None
        return {"logits": fused.unembed(self.linear(fused.tokens.values)), "mask": fused.tokens.mask}

    def predict(self, outputs: Mapping[str, Tensor]) -> list[Any]:
        return [ids[mask].tolist() for ids, mask in zip(outputs["logits"].argmax(-1), outputs["mask"], strict=True)]


class Words(HeadConfig):
    """A token's next word, by what the fusion lends."""

    name = "words"

    def build(self, spec: Widths) -> nn.Module:
        if spec.vocabulary is None:
            raise A2AError("head `words` needs a fusion with a vocabulary")
        assert spec.width is not None
        return Unembeds(spec.width)

    def examples(self) -> Sequence[Mapping[str, Any]]:
        return [{"text": "a"}, {"text": "b"}]


def test_a_head_may_want_a_vocabulary_and_no_targets(judge: Any) -> None:
    assert judge(Words) == set()
    assert "targets_are_encoded" in judge.skips(Words)
