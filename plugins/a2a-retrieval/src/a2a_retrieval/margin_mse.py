"""The loss `margin-mse`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from a2a_core.components import HeadConfig
from a2a_core.options import option
from a2a_retrieval.sides_loss import SidesLoss

if TYPE_CHECKING:
    from torch import nn


class MarginMse(SidesLoss):
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

        return MarginMseLoss(self.sides_with_negatives(head), self.scale)
