"""The loss `siglip`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from a2a_core.components import HeadConfig
from a2a_core.options import option
from a2a_retrieval.sides_loss import SidesLoss

if TYPE_CHECKING:
    from torch import nn


class SigLip(SidesLoss):
    """Each query says of each document of the step whether it is its positive (SigLIP, arXiv 2303.15343, algorithm 1).

    With the scores s_ij of query i and document j, temperature t and bias b, in float32, a row i that has both query and
    positive has the loss

        sum_j log(1 + exp(z_ij (s_ij / t + b))),    z_ij = -1 where j is its positive, else 1

    It is a mean over such rows, a sum over documents: the positives and the negatives of all rows, those of other ranks too,
    whatever the micro-batch is (gradient cache). A document that some row of the step says answers the query is no negative
    (`mask_known`), as in `infonce`. It is the same both ways. The bias starts low because nearly all pairs are negatives. In
    evaluation batches take the place of steps: more rows in a batch make the loss larger.
    """

    name = "siglip"
    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("siglip",)
    temperature: float = option("what scores are divided by, at first", default=0.1, gt=0)
    learn_temperature: bool = option("train the temperature; false: it stays as it is", default=True)
    min_temperature: float = option("a learned temperature never falls below it", default=0.001, gt=0)
    bias: float = option("what is added to scores that were divided, at first", default=-10.0)
    learn_bias: bool = option("train the bias; false: it stays as it is", default=True)
    mask_known: bool = option("leave out, as negatives, documents that are known to answer the query", default=True)
    distinct_positives: bool = option("no two rows of a training step have the same positive", default=True)

    def check(self) -> None:
        """The temperature starts where it may be."""
        if self.learn_temperature and self.temperature < self.min_temperature:
            raise ValueError(f"`temperature` {self.temperature:g} lies below `min_temperature` {self.min_temperature:g}")

    def least(self) -> int:
        """Two, of which each is the other's negative."""
        return 2

    def distinct(self, head: HeadConfig) -> str:
        """The field that tells positives apart."""
        return getattr(head, "positive_key", "") if self.distinct_positives else ""

    def build(self, head: HeadConfig) -> nn.Module:
        """The module, with temperature and bias."""
        from a2a_retrieval.siglip_model import SigLipModule
        from a2a_retrieval.temperature import Temperature

        temperature = Temperature(self.temperature, self.min_temperature if self.learn_temperature else None)
        return SigLipModule(self.name, self.sides_of(head), temperature, self.bias, self.learn_bias, self.mask_known)
