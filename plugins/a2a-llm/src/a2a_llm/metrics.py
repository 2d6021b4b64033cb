"""The metrics `perplexity`, `token-accuracy` and `sequence-accuracy`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from a2a_core import HeadConfig, Metric, MetricConfig
from a2a_llm.next_token import refuse_other, stated

if TYPE_CHECKING:
    from torch import Tensor


class TextMetric(MetricConfig):
    """What is measured of a head that predicts text, at the places that are supervised; weights are left out."""

    def build(self, head: HeadConfig) -> Metric:
        """A fresh one; A2AError for a head that predicts no text."""
        refuse_other(self.name, head)
        return Shares(self.name)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Of a head `lm`."""
        return cls(head="lm")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Any], dict[str, Tensor]]:
        """Random states, judged as the head judges them in evaluation."""
        from a2a_llm.lm_model import judged

        head, outputs, targets = stated(size)
        return head, outputs | judged(outputs["hidden"], outputs["unembed"], targets["labels"]), targets


class Perplexity(TextMetric):
    """The exponential of the mean negative log-likelihood of a supervised token."""

    name: ClassVar[str] = "perplexity"
    higher_is_better: ClassVar[bool] = False


class TokenAccuracy(TextMetric):
    """The share of supervised tokens that are the likeliest, all before them given."""

    name: ClassVar[str] = "token-accuracy"


class SequenceAccuracy(TextMetric):
    """The share of samples whose supervised tokens all are the likeliest: those that greedy generation would write exactly."""

    name: ClassVar[str] = "sequence-accuracy"


class Shares:
    """Sums over places and samples."""

    def __init__(self, name: str) -> None:
        self.name, self.sums = name, [0.0] * 5

    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Take one batch."""
        supervised = targets["weights"] > 0
        right, rows = outputs["right"][supervised], targets["row"][supervised]
        samples, wrong = rows.unique().numel(), rows[~right].unique().numel()
        nll = outputs["nll"][supervised].detach().double().sum()
        found = (float(nll), int(right.sum()), right.numel(), samples - wrong, samples)
        self.merge(found)

    def state(self) -> list[float]:
        """The sums."""
        return list(self.sums)

    def merge(self, state: Any) -> None:
        """Add another rank's."""
        self.sums = [one + other for one, other in zip(self.sums, state, strict=True)]

    def compute(self) -> dict[str, float]:
        """Nothing seen is NaN."""
        nll, right, places, whole, samples = self.sums
        if self.name == "perplexity":
            return {"perplexity": math.exp(min(nll / places, 700.0)) if places else math.nan}
        seen, count = (right, places) if self.name == "token-accuracy" else (whole, samples)
        return {self.name: seen / count if count else math.nan}
