"""The metric `exact-match`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_classification.binary_cross_entropy import chosen_labels
from a2a_classification.fits import labels_of, threshold_of
from a2a_core.components import HeadConfig, Metric, MetricConfig

if TYPE_CHECKING:
    from torch import Tensor


class ExactMatchMetric(MetricConfig):
    """Share of the samples of which every label is right (subset accuracy), of those labels that the row says something of.

    `hamming_loss` is the share of labels that are wrong. Reports nothing when no sample had a label.
    """

    name = "exact-match"

    def build(self, head: HeadConfig) -> Metric:
        """A fresh count."""
        from a2a_classification.label_metrics import ExactMatch

        labels_of(self, head)
        return ExactMatch(threshold_of(head))

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="animals")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three labels."""
        return chosen_labels(size)
