"""The loss `infonce`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from a2a_core.components import HeadConfig
from a2a_core.options import option
from a2a_retrieval.sides_loss import SidesLoss

if TYPE_CHECKING:
    from torch import nn


class InfoNce(SidesLoss):
    """Each query finds its positive among the documents of the step (InfoNCE, arXiv 1807.03748; DPR, 2004.04906).

    With the scores s_ij of query i and document j and temperature t, in float32, a row that has both query and positive has
    the loss

        - log softmax_j(s_ij / t) at j = its positive

    and `symmetric` adds that of its positive, which finds the query among all queries, and halves the sum. It is a mean over
    such rows. Documents are the positives and the negatives of all rows, those of other ranks too, whatever the micro-batch is
    (gradient cache). A document that some row of the step says answers the query, by the ids of rows or else by their content,
    is no negative (`mask_known`): another row's with the same positive or the same query, and what `relevant` lists. Behind
    `embedding` a score is a dot product, behind `multi-vector` MaxSim, a sum over the query's tokens that wants a higher
    temperature. In evaluation batches take the place of steps: more rows in a batch make the task harder, and the loss larger.
    """

    name = "infonce"
    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("infonce",)
    temperature: float = option("what scores are divided by, at first", default=0.05, gt=0)
    learn_temperature: bool = option("train the temperature; false: it stays as it is", default=False)
    min_temperature: float = option("a learned temperature never falls below it", default=0.01, gt=0)
    symmetric: bool = option("positives find their queries, too", default=False)
    in_batch: bool = option("compare with the documents of other rows, too; false: with the row's own alone", default=True)
    mask_known: bool = option("leave out, as negatives, documents that are known to answer the query", default=True)
    distinct_positives: bool = option("no two rows of a training step have the same positive", default=True)

    def check(self) -> None:
        """The temperature starts where it may be; both ways need other rows."""
        if self.learn_temperature and self.temperature < self.min_temperature:
            raise ValueError(f"`temperature` {self.temperature:g} lies below `min_temperature` {self.min_temperature:g}")
        if self.symmetric and not self.in_batch:
            raise ValueError(
                "`symmetric` compares a positive with the queries of other rows, which `in_batch = false` leaves out"
            )

    def least(self) -> int:
        """Two, of which each is the other's negative."""
        return 2 if self.in_batch else 1

    def distinct(self, head: HeadConfig) -> str:
        """The field that tells positives apart."""
        return getattr(head, "positive_key", "") if self.in_batch and self.distinct_positives else ""

    def build(self, head: HeadConfig) -> nn.Module:
        """The module, with the temperature."""
        from a2a_retrieval.infonce_model import InfoNceModule
        from a2a_retrieval.temperature import Temperature

        sides = self.sides_of(head) if self.in_batch else self.sides_with_negatives(head)
        temperature = Temperature(self.temperature, self.min_temperature if self.learn_temperature else None)
        return InfoNceModule(self.name, sides, temperature, self.in_batch, self.symmetric, self.mask_known)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Both ways, with everything that can be learned."""
        return cls(head="pair", symmetric=True, learn_temperature=True)
