"""The metric `f1`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from a2a_classification.cross_entropy import classified
from a2a_classification.fits import has, names_of, threshold_of
from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class F1Metric(MetricConfig):
    """F1, the harmonic mean of precision and recall, averaged over the classes, or over the labels of `multi-label`.

    `macro`: every class that was a label or a prediction counts alike; `weighted`: by its labels; `micro`: over all decisions,
    which for classes is the accuracy. `per_class` lists name, precision, recall, F1 and number of labels. Reports nothing when
    no sample had a label.
    """

    name = "f1"
    average: Literal["macro", "micro", "weighted"] = option("how classes are averaged", default="macro")

    def build(self, head: HeadConfig) -> Metric:
        """A fresh count."""
        from a2a_classification.class_metrics import F1
        from a2a_classification.label_metrics import LabelF1

        names = names_of(self, head)
        return LabelF1(names, self.average, threshold_of(head)) if has(head, "label_names") else F1(names, self.average)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="animal")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three classes."""
        return classified(size)
