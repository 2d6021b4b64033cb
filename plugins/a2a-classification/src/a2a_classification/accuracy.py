"""The metric `accuracy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_classification.cross_entropy import classified
from a2a_classification.fits import classes_of
from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class AccuracyMetric(MetricConfig):
    """Share of the labelled samples whose class is the likeliest, or among the `top_k` likeliest.

    Reports nothing when no sample had a label.
    """

    name = "accuracy"
    top_k: int = option("a sample is right if its class is among this many", default=1, ge=1)

    def build(self, head: HeadConfig) -> Metric:
        """A fresh count."""
        from a2a_classification.class_metrics import Accuracy

        names = classes_of(self, head)
        if self.top_k >= len(names):
            raise A2AError(f"`top_k = {self.top_k}` of {len(names)} classes is always right")
        return Accuracy(self.top_k)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Of two of three."""
        return cls(head="animal", top_k=2)

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three classes."""
        return classified(size)
