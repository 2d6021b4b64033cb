"""The loss `triplet`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from a2a_core.components import HeadConfig
from a2a_core.options import option
from a2a_retrieval.sides_loss import SidesLoss

if TYPE_CHECKING:
    from torch import nn


class Triplet(SidesLoss):
    """A positive is to lie nearer to its query than negatives do, by a margin: max(0, d(positive) - d(negative) + margin).

    In float32, a mean over the queries that have a positive. The negatives of a query are

    - `given`: those of its row, the mean over them; queries without any do not count;
    - `all`: all documents of the step, other ranks' too, that are not known to answer it, the mean over them;
    - `hard`: the nearest of these, with the farthest document that is known to answer it (arXiv 1703.07737, equation 5);
    - `semi-hard`: the nearest of these that lies farther away than its positive, else the farthest (FaceNet, arXiv
      1503.03832, section 3.2).

    A document is known to answer a query that some row of the step pairs it with, or that calls it relevant. `cosine` is
    1 - cosine, of the head `multi-vector` minus its MaxSim.
    """

    name = "triplet"
    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("triplet",)
    mining: Literal["given", "all", "hard", "semi-hard"] = option("which negatives", default="hard")
    distance: Literal["cosine", "euclidean"] = option("between a query and a document", default="cosine")
    margin: float | Literal["soft"] = option('by how much; "soft": log(1 + e^x) in place of max(0, x)', default=0.2, gt=0)
    symmetric: bool = option("positives are compared with the step's queries, too; not for `given`", default=False)

    def check(self) -> None:
        """A row's negatives are documents."""
        if self.symmetric and self.mining == "given":
            raise ValueError('`symmetric` compares a positive with the queries of other rows, and `mining = "given"` no rows')

    def least(self) -> int:
        """Two, where rows are compared with one another."""
        return 1 if self.mining == "given" else 2

    def build(self, head: HeadConfig) -> nn.Module:
        """The module; A2AError for a head that does not embed, or not as it must."""
        from a2a_retrieval.triplet_model import TripletLoss

        sides = self.sides_with_negatives(head) if self.mining == "given" else self.sides_of(head)
        if self.distance == "euclidean":
            self.refuse_many_vectors(head, 'distance = "euclidean"')
        margin = None if self.margin == "soft" else float(self.margin)
        return TripletLoss(self.name, sides, self.mining, self.distance, margin, self.symmetric)
