"""The head `multi-vector`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.options import option
from a2a_core.structures import Widths
from a2a_retrieval.sides import SidesHead

if TYPE_CHECKING:
    from torch import nn


class MultiVectorHead(SidesHead):
    """A vector a token, for late interaction (ColBERT, arXiv 2004.12832, section 3.2; ColPali, arXiv 2407.01449).

    Each real token of a query and of a document is projected without bias and scaled to length 1; a query's score of a document
    is MaxSim: the sum over the query's vectors of the highest cosine with one of the document's. Sides whose encoders share
    weights share the projection.

    Outputs in float32: `query` (B, T, D), `positive` (B, T', D) and `negative` (B, S, T'', D), with `query_mask` (B, T),
    `positive_mask` (B, T') and `negative_mask` (B, S, T''), true where there is a token. The prediction is the MaxSim of query
    and positive, null where one is missing. Rows are those of the head `embedding`.
    """

    name = "multi-vector"
    dimension: int = option("channels of a vector", default=128, gt=0)

    def build(self, spec: Widths) -> nn.Module:
        """The projections; A2AError for encoders that are not there."""
        from a2a_retrieval.multi_vector_model import MultiVector

        return MultiVector(self.sides(), *self.built_on(spec), self.dimension)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Eight channels, of pictures and sounds."""
        return cls(query="image", positive="audio", dimension=8)
