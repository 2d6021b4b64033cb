"""The metric `average-precision`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_classification.binary_cross_entropy import chosen_labels
from a2a_classification.fits import labels_of
from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class AveragePrecisionMetric(MetricConfig):
    """Mean average precision: the area under each label's precision-recall curve, averaged over the labels that ever apply.

    Whatever the threshold of the head. The curve is drawn at so many equally spaced probabilities, in constant memory (as
    torchmetrics does with `thresholds`): samples between two of them count as equal. `per_class` lists name, average precision
    and number of samples to which it applies. Reports nothing when no label ever applied.
    """

    name = "average-precision"
    thresholds: int = option("points of the curve, from 0 to 1", default=200, ge=2)

    def build(self, head: HeadConfig) -> Metric:
        """A fresh histogram."""
        from a2a_classification.label_metrics import AveragePrecision

        return AveragePrecision(labels_of(self, head), self.thresholds)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="animals")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three labels."""
        return chosen_labels(size)
