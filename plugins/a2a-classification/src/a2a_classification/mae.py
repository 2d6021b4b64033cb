"""The metric `mae`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_classification.fits import classes_of, has, scale_of, unfit
from a2a_classification.mse import measured
from a2a_core.components import HeadConfig, Metric, MetricConfig

if TYPE_CHECKING:
    from torch import Tensor


class MaeMetric(MetricConfig):
    """Mean absolute error over all samples with a target and all their numbers, in the target's own units.

    Where a sample has several numbers, `per_number` has the error of each. Of ranks (an `ordinal` head, or classes that are
    numbers) it is the mean distance of label and prediction, in ranks. Reports nothing when no sample had a target.
    """

    name = "mae"
    higher_is_better: ClassVar[bool] = False

    def build(self, head: HeadConfig) -> Metric:
        """A fresh sum."""
        from a2a_classification.class_metrics import RankError
        from a2a_classification.mae_metric import MeanAbsoluteError

        if has(head, "scale"):
            return MeanAbsoluteError(scale_of(self, head))
        if not has(head, "ordered"):
            raise unfit(self, head, "scale", "ordered")
        return RankError(classes_of(self, head))

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="score")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random pairs of numbers."""
        return measured(size)
