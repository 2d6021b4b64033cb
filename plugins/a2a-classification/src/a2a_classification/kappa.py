"""The metric `kappa`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from a2a_classification.coral import ranked
from a2a_classification.fits import classes_of, has
from a2a_core.components import HeadConfig, Metric, MetricConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor


class KappaMetric(MetricConfig):
    """Cohen's kappa: agreement beyond chance, 1 - observed / expected disagreement; 1 is perfect, 0 is chance.

    Disagreement weighs the square of the distance of two ranks, the distance, or all alike (`none`). Distances need an order:
    an `ordinal` head, or classes that are numbers, which stand in the order of their size. Reports nothing when no sample had a
    label, and 0 where both say one and the same class throughout.
    """

    name = "kappa"
    weights: Literal["quadratic", "linear", "none"] = option("what a disagreement weighs", default="quadratic")

    def build(self, head: HeadConfig) -> Metric:
        """A fresh table."""
        from a2a_classification.class_metrics import Kappa

        names = classes_of(self, head)
        if self.weights != "none" and not has(head, "ordered"):
            raise A2AError(
                f'the metric `kappa` with `weights = "{self.weights}"` needs an order of the classes, and those of '
                f"`heads.{self.head}` (`{head.name}`) are names",
                hint='use the head `ordinal`, or `weights = "none"`',
            )
        return Kappa(names, self.weights)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="quality")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of four ranks."""
        return ranked(size)
