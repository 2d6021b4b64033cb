"""The metric `confusion`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_classification.cross_entropy import classified
from a2a_classification.fits import classes_of
from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_core.errors import A2AError

if TYPE_CHECKING:
    from torch import Tensor

MOST_CLASSES = 1000


class ConfusionMetric(MetricConfig):
    """Which classes are taken for which: a table, which `a2a train` and `a2a eval` print.

    Its row i and column j count the samples of class `classes[i]` that were predicted as `classes[j]`. Reports nothing when no
    sample had a label.
    """

    name = "confusion"
    tabular = True

    def build(self, head: HeadConfig) -> Metric:
        """A fresh table."""
        from a2a_classification.class_metrics import Confusion

        names = classes_of(self, head)
        if len(names) > MOST_CLASSES:
            raise A2AError(f"a table of {len(names)} x {len(names)} classes is too large", hint="`f1` lists every class")
        return Confusion(names)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="animal")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three classes."""
        return classified(size)
