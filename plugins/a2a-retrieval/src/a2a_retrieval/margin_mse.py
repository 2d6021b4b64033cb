"""The loss `margin-mse`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from a2a_core.components import HeadConfig, LossConfig
from a2a_core.options import option
from a2a_retrieval.examples import example_inputs, examples
from a2a_retrieval.fits import with_negatives

if TYPE_CHECKING:
    from torch import Tensor, nn


class MarginMse(LossConfig):
    """How far a positive lies before a negative, as a teacher says (MarginMSE, arXiv 2010.02666, section 4.1).

    For scores s of a query's positive and of each of its hard negatives, and those of the row's `teacher_scores`,

        (scale * (s(positive) - s(negative)) - (teacher(positive) - teacher(negative)))^2

    in float32: the mean over all negatives. Rows without negatives or without a teacher's scores do not count.
    """

    name = "margin-mse"
    terms: ClassVar[tuple[str, ...]] = ("margin_mse",)
    scale: float = option("what scores are multiplied by: margins of cosines are narrower than a teacher's", default=1.0, gt=0)

    def build(self, head: HeadConfig) -> nn.Module:
        """The module; A2AError for a head that does not embed, or reads no negatives."""
        from a2a_retrieval.margin_mse_model import MarginMseLoss

        return MarginMseLoss(with_negatives(self, head), self.scale)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="pair")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random vectors."""
        return examples(size)

    def example_inputs(self, size: int, samples: Sequence[int]) -> Mapping[str, Any]:
        """Which items they have."""
        return example_inputs(size, samples)
