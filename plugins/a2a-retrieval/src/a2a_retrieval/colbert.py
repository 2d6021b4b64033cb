"""The loss `colbert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core.components import HeadConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_retrieval.examples import many_vectors
from a2a_retrieval.infonce import InfoNce
from a2a_retrieval.multi_vector import MultiVectorHead

if TYPE_CHECKING:
    from torch import Tensor, nn


class ColBert(InfoNce):
    """The loss `infonce` of late interaction: scores are MaxSim (ColBERT, arXiv 2004.12832, section 3.3; ColPali, 2407.01449).

    It judges the head `multi-vector` alone. MaxSim is a sum over the query's tokens, so that long queries have larger scores,
    and sharper softmaxes; `by_length` makes it their mean, a cosine again, which wants a temperature near 0.02. Everything else
    is as there, hard negatives and what is known to answer a query included. Similarities of tokens are computed by blocks of
    documents and forgotten: memory grows with queries x documents x tokens of a query.
    """

    name = "colbert"
    terms: ClassVar[tuple[str, ...]] = ("colbert",)
    temperature: float = option("what scores are divided by, at first", default=1.0, gt=0)
    by_length: bool = option("divide scores by the number of the query's tokens", default=False)

    def build(self, head: HeadConfig) -> nn.Module:
        """The module; A2AError for a head of one vector an item."""
        from a2a_retrieval.colbert_model import ByLength

        self.sides_of(head)
        if not isinstance(head, MultiVectorHead):
            raise A2AError(
                f"the loss `{self.name}` compares token by token (`multi-vector`), and those of `heads.{self.head}` "
                f"(`{head.name}`) are one vector an item",
                hint='`use = "infonce"` judges it',
            )
        module = super().build(head)
        return ByLength(module) if self.by_length else module

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Both ways, with everything that can be learned."""
        return cls(head="pair", by_length=True, symmetric=True, learn_temperature=True)

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random vectors."""
        return many_vectors(size)
