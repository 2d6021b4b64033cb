"""A right loss passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from a2a_core import HeadConfig, LossConfig
from a2a_core.testing.reference import ReferenceHead


class Module(nn.Module):
    """Cross entropy at a learned temperature, and a second term: the squared logits of labelled samples."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.zeros(1))
        self.weight = weight

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Any]:
        labelled = (targets["label"] >= 0).sum()
        return {"cross_entropy": labelled, "size": labelled * 3}

    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(logits, label, reduction="sum", ignore_index=-100)

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logits, label = outputs["logits"].float() * self.temperature.exp(), targets["label"]
        return {"cross_entropy": self.entropy(logits, label), "size": (logits.square() * (label >= 0)[:, None]).sum()}


class Good(LossConfig):
    """Cross entropy at a learned temperature."""

    name = "good"
    terms: ClassVar[tuple[str, ...]] = ("cross_entropy", "size")
    module: ClassVar[type[nn.Module]] = Module

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls(head="kind")

    def build(self, head: HeadConfig) -> nn.Module:
        return self.module(self.weight)

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        label = torch.arange(size) % 3
        label[-1] = -100
        return ReferenceHead(), {"logits": torch.randn(size, 3)}, {"label": label}


@pytest.mark.parametrize("component", [Good, Good(head="other", weight=0.0)], ids=str)
def test_a_right_loss_passes_every_check(judge: Any, component: Any) -> None:
    assert judge(component) == set()
    assert judge.skips(component) == {"refills_its_buffers"}


class Averages(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(logits, label) if (label >= 0).any() else logits.sum() * 0


class AveragesSafely(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return super().entropy(logits, label) / (label >= 0).sum().clamp(min=1)


class ComparesSamples(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        labelled = (label >= 0)[:, None]
        return super().entropy(logits - (logits * labelled).sum(0), label)


class StopsTheGradientOfLaterSamples(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return super().entropy(torch.cat([logits[:1], logits[1:].detach()]), label)


class CountsTheBatch(Module):
    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"cross_entropy": inputs["size"], "size": inputs["size"] * 3}


class CountsOnce(Module):
    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Any]:
        return dict.fromkeys(super().count(inputs, targets), 1)


class CountsWhatItSaw(Module):
    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Any]:
        return dict.fromkeys(super().count(inputs, targets), self.seen)

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.seen = int((targets["label"] >= 0).sum()) if not targets["label"].is_meta else 0
        return super().forward(outputs, targets)


class CountsByItsTemperature(Module):
    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Any]:
        return {name: count * self.temperature.exp().item() for name, count in super().count(inputs, targets).items()}


class CountsFirst(Module):
    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Any]:
        weight = torch.linspace(1, 2, len(targets["label"]))
        return {"cross_entropy": ((targets["label"] >= 0) * weight).sum(), "size": 3 * (targets["label"] >= 0).sum()}


class LeavesOutATerm(Module):
    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().forward(outputs, targets)
        return found if targets["label"].is_meta or (targets["label"] >= 0).any() else {"size": found["size"]}


class GivesEachSample(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(logits, label, reduction="none", ignore_index=-100)


class GivesAConstant(Module):
    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().forward(outputs, targets)
        nothing = not targets["label"].is_meta and not (targets["label"] >= 0).any()
        return dict.fromkeys(found, torch.zeros(())) if nothing else found


class IsNaNOfNothing(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(logits, label) * (label >= 0).sum()


class JudgesTheUnlabelled(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(logits, label.clamp(min=0), reduction="sum")


class PushesTheUnlabelled(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        hidden = logits * (label < 0)[:, None]
        return super().entropy(logits, label) + (hidden - hidden.detach()).sum()


class AppliesItsWeight(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        return super().entropy(logits, label) * self.weight


class SumsInBfloat16(Module):
    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().forward(outputs, targets)
        return {name: total.to(outputs["logits"].dtype) for name, total in found.items()}


class TakesLogsOfTinyNumbers(Module):
    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = super().forward(outputs, targets)
        valid = (targets["label"] >= 0)[:, None]
        return {
            **found,
            "size": ((outputs["logits"] + 300) * valid).float().frac().square().sum() * self.temperature.exp().sum(),
        }


class DependsOnNothing(Module):
    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return super().forward({name: value.detach() for name, value in outputs.items()}, targets)


class HasInfiniteGradients(Module):
    def entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        labelled = logits[label >= 0] if not label.is_meta else logits
        return super().entropy(logits, label) + (labelled - labelled.detach()).square().sum(-1).sqrt().sum()


UNLABELLED = {"unlabelled_samples_count_nothing", "nothing_to_count_is_zero"}


@pytest.mark.parametrize(
    ("module", "check", "says", "besides"),
    [
        (Averages, "totals_add_up", "the total is divided somewhere", {"runs_on_meta"}),
        (
            AveragesSafely,
            "totals_add_up",
            "`cross_entropy` do not add up when 7 samples are split into (1, 1, 1, 1, 1, 1, 1)",
            set(),
        ),
        (ComparesSamples, "totals_add_up", "do not add up", set()),
        (StopsTheGradientOfLaterSamples, "totals_add_up", "the gradients at `outputs.logits` do not add up", set()),
        (CountsTheBatch, "unlabelled_samples_count_nothing", "with an unlabelled sample: 6 -> 7", UNLABELLED),
        (CountsOnce, "totals_add_up", "the counts of `cross_entropy` do not add up: 1 for 7 samples, 7 for", UNLABELLED),
        (CountsWhatItSaw, "can_be_tested", "what forward left behind", None),
        (CountsByItsTemperature, "count_needs_no_parameters", "nan", set()),
        (
            CountsFirst,
            "order_does_not_matter",
            "the count of `cross_entropy` depends on the order",
            {"totals_add_up", "unlabelled_samples_count_nothing"},
        ),
        (LeavesOutATerm, "terms_are_static", "['size']; terms = ('cross_entropy', 'size')", None),
        (GivesEachSample, "terms_are_static", "without dimensions", None),
        (GivesAConstant, "terms_are_static", "not connected to the graph", None),
        (IsNaNOfNothing, "nothing_to_count_is_zero", "`cross_entropy` is nan", {"totals_add_up", "terms_are_static"}),
        (JudgesTheUnlabelled, "unlabelled_samples_count_nothing", "is not masked", UNLABELLED),
        (PushesTheUnlabelled, "unlabelled_samples_count_nothing", "gets a gradient at `outputs.logits`", UNLABELLED),
        (AppliesItsWeight, "weight_is_not_applied", "`cross_entropy` changes with `weight`", set()),
        (SumsInBfloat16, "low_precision_outputs_work", "torch.bfloat16", set()),
        (TakesLogsOfTinyNumbers, "low_precision_outputs_work", "`size` from bfloat16 outputs", set()),
        (DependsOnNothing, "depends_on_outputs", "no output receives a gradient", set()),
        (HasInfiniteGradients, "depends_on_outputs", "`outputs.logits`", None),
    ],
)
def test_a_faulty_loss_is_caught(judge: Any, module: type[Module], check: str, says: str, besides: set[str] | None) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "module": module})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}


class Contrast(nn.Module):
    """Every sample against the mean of all."""

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"contrast": (targets["label"] >= 0).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        valid = (targets["label"] >= 0)[:, None]
        logits = outputs["logits"].float() * valid
        centre = logits.sum(0) / valid.sum().clamp(min=1)
        return {"contrast": ((logits - centre) * valid).square().sum()}


class Window(Good):
    """Compares samples with one another."""

    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("contrast",)

    def build(self, head: HeadConfig) -> nn.Module:
        return Contrast()


class WindowOfSamples(Window):
    """Says that it judges each sample by itself, though it compares them."""

    scope: ClassVar[Literal["sample", "window"]] = "sample"


def test_a_loss_over_the_window_need_not_add_up(judge: Any) -> None:
    assert judge(Window) == set()
    assert {"totals_add_up", "unlabelled_samples_count_nothing"} <= judge.skips(Window)
    assert "totals_add_up" in judge(WindowOfSamples)


class WithoutHead(Good):
    """Cannot be made without a head."""

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls()  # type: ignore[call-arg]


class WithShortExamples(Good):
    """Gives fewer samples than it was asked for."""

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        return super().examples(size - 1)


def test_what_cannot_be_tested_says_what_to_add(judge: Any) -> None:
    assert judge(WithoutHead) == {"can_be_tested"}
    assert "def tiny(cls, folder):" in judge.says(WithoutHead, "can_be_tested")
    assert "with 7 samples in dimension 0" in judge.says(WithShortExamples, "can_be_tested")
