"""The loss `cosent`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from a2a_core.components import HeadConfig
from a2a_core.options import option
from a2a_retrieval.sides_loss import SidesLoss

if TYPE_CHECKING:
    from torch import nn


class CoSent(SidesLoss):
    """Pairs with scores, put in order: what is scored higher is to lie closer together (CoSENT, kexue.fm/archives/8847).

    With the cosine c_i of row i's query and positive, in float32,

        log(1 + sum exp(scale * (c_j - c_i)))      over all rows i, j of the step where i has the higher score

    Only the order of scores matters, not their unit. Rows without a score neither count nor are compared; all rows of an
    optimizer step are, those of other ranks too, so its value grows with their number. Behind `multi-vector` c is the MaxSim
    of vectors of length 1. It is a mean in name alone: each of the rows counts the loss of the step.
    """

    name = "cosent"
    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("cosent",)
    scale: float = option("what cosines are multiplied by: 1 / temperature", default=20.0, gt=0)

    def least(self) -> int:
        """Two, of which one can lie before the other."""
        return 2

    def build(self, head: HeadConfig) -> nn.Module:
        """The module."""
        from a2a_retrieval.cosent_model import CoSentLoss

        return CoSentLoss(self.sides_of(head), self.scale)
