"""A right metric passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch
from torch import Tensor

from a2a_core import HeadConfig, MetricConfig
from a2a_core.testing.reference import ReferenceHead


class Accuracy:
    def __init__(self) -> None:
        self.right, self.seen = torch.zeros(3), torch.zeros(3)

    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        label = targets["label"]
        valid = label >= 0
        hit = (outputs["logits"].argmax(-1) == label)[valid]
        self.right.index_add_(0, label[valid], hit.float())
        self.seen.index_add_(0, label[valid], torch.ones_like(hit, dtype=torch.float))

    def state(self) -> Any:
        return {"right": self.right, "seen": self.seen}

    def merge(self, state: Any) -> None:
        self.right, self.seen = self.right + state["right"], self.seen + state["seen"]

    def compute(self) -> Mapping[str, Any]:
        return {"accuracy": float(self.right.sum() / self.seen.sum()), "by_class": (self.right / self.seen).tolist()}


class Good(MetricConfig):
    """How often the largest logit is right, overall and by class."""

    name = "good"
    metric: ClassVar[type[Any]] = Accuracy

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls(head="kind")

    def build(self, head: HeadConfig) -> Any:
        return self.metric()

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        label = torch.arange(size) % 3
        label[-1] = -100
        return ReferenceHead(), {"logits": torch.randn(size, 3)}, {"label": label}


def test_a_right_metric_passes_every_check(judge: Any) -> None:
    assert judge(Good) == set()
    assert judge.skips(Good) == set()


class GivesATensor(Accuracy):
    def compute(self) -> Mapping[str, Any]:
        return {"accuracy": self.right.sum() / self.seen.sum()}


class GivesTextFirst(Accuracy):
    def compute(self) -> Mapping[str, Any]:
        return {"verdict": "good"} | dict(super().compute())


class GivesNothing(Accuracy):
    def compute(self) -> Mapping[str, Any]:
        return {}


class SharesItsState(Accuracy):
    shared: ClassVar[list[int]] = []

    def compute(self) -> Mapping[str, Any]:
        self.shared.append(1)
        return {"accuracy": float(len(self.shared))}


class AveragesBatches(Accuracy):
    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        one = Accuracy()
        one.update(outputs, targets)
        count = one.seen.sum().clamp(min=1)
        self.right, self.seen = self.right + one.right / count, self.seen + one.seen / count


class ReplacesOnMerge(Accuracy):
    def merge(self, state: Any) -> None:
        self.right, self.seen = state["right"], state["seen"]


class CannotMergeNothing(Accuracy):
    def merge(self, state: Any) -> None:
        if not state["seen"].any():
            raise ValueError("nothing was seen")
        super().merge(state)


class CountsMerges(Accuracy):
    def merge(self, state: Any) -> None:
        super().merge(state)
        self.seen = self.seen + (0 if state["seen"].any() else 1)


class HoldsTheGraph(Accuracy):
    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        super().update(outputs, targets)
        self.right = self.right + 0 * outputs["logits"].sum()


class HasALambdaInItsState(Accuracy):
    def state(self) -> Any:
        return {**super().state(), "seen_by": lambda: self.seen}


class KeepsEverything(Accuracy):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        super().update(outputs, targets)
        self.kept.append(outputs["logits"].detach())


class SendsEverything(KeepsEverything):
    def state(self) -> Any:
        return {**super().state(), "kept": self.kept}


class CountsTheUnlabelled(Accuracy):
    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        super().update(outputs, targets)
        self.seen[0] += (targets["label"] < 0).sum()


class DividesByZero(Accuracy):
    def compute(self) -> Mapping[str, Any]:
        return {"accuracy": int(self.right.sum()) / int(self.seen.sum())}


class WantsFloat32(Accuracy):
    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        outputs["logits"].detach().numpy()
        super().update(outputs, targets)


@pytest.mark.parametrize(
    ("metric", "check", "says", "besides"),
    [
        (GivesATensor, "computes_plain_values", "JSON", None),
        (GivesTextFirst, "computes_plain_values", "is no number", set()),
        (GivesNothing, "computes_plain_values", "gives nothing", set()),
        (SharesItsState, "computes_plain_values", "a class attribute", None),
        (AveragesBatches, "split_and_merged_is_the_same", "updated in batches of (5, 7)", set()),
        (
            ReplacesOnMerge,
            "split_and_merged_is_the_same",
            "merged from ranks that saw (1, 1",
            {"merging_nothing_changes_nothing"},
        ),
        (CannotMergeNothing, "merging_nothing_changes_nothing", "nothing was seen", {"split_and_merged_is_the_same"}),
        (CountsMerges, "merging_nothing_changes_nothing", "changes the values", {"split_and_merged_is_the_same"}),
        (HoldsTheGraph, "state_travels", "gradient graph", None),
        (HasALambdaInItsState, "state_travels", "a lambda", set()),
        (KeepsEverything, "memory_is_constant", "after 492 samples the metric holds 1482 values, after 12 samples 42", set()),
        (SendsEverything, "memory_is_constant", "state() holds", set()),
        (CountsTheUnlabelled, "unlabelled_samples_count_nothing", "without a target changes the values", set()),
        (DividesByZero, "unlabelled_samples_count_nothing", "ZeroDivisionError", {"merging_nothing_changes_nothing"}),
        (WantsFloat32, "low_precision_outputs_work", "outputs.float()", set()),
    ],
)
def test_a_faulty_metric_is_caught(judge: Any, metric: type[Accuracy], check: str, says: str, besides: set[str] | None) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "metric": metric})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}
