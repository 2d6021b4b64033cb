"""The head `embedding`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_core.structures import Widths
from a2a_retrieval.sides import SidesHead

if TYPE_CHECKING:
    from torch import nn


class EmbeddingHead(SidesHead):
    """A vector a query, a vector a document, in one space (Sentence-BERT, arXiv 1908.10084; CLIP, arXiv 2103.00020).

    An item's vector is pooled from its encoder's real tokens: their mean, the first, the last, or a mean with learned weights
    that starts as the plain one; then projected without bias, and scaled to length 1. Sides whose encoders share weights share
    these, too. It reads the tokens as the fusion was given them, so that it works behind every fusion; `separate` adds nothing.

    Outputs in float32: `query`, `positive` (B, D) with `query_mask`, `positive_mask` (B,), `negative` (B, S, D) with
    `negative_mask` (B, S): of what a sample has not, the mask is false. The prediction is the cosine of query and positive,
    null where one is missing.

    A row has a `query`, a `positive` and, if need be, `negatives`, under the names of the encoders or their `field`. It may say
    which they are (`query_id`, `positive_id`, `negative_ids`): what has no id is known by its content, a text or a file's
    path. It may say how well the pair fits (`score`), what a teacher gives positive and negatives (`teacher_scores`), and which
    ids answer the query (`relevant`: a list, or a table of grades). A row without a query is a document of a corpus, one with
    `relevant` and without a positive a query to be evaluated.
    """

    name = "embedding"
    pool: Literal["mean", "cls", "last", "attention"] = option("how an item's real tokens become one vector", default="mean")
    dimension: int | None = option("channels of the space (none: those of the encoders, unprojected)", default=None, gt=0)
    normalise: bool = option("scale vectors to length 1, so that dot products are cosines", default=True)

    def build(self, spec: Widths) -> nn.Module:
        """Pools and projections; A2AError for encoders that are not there, or that differ in width without a projection."""
        from a2a_retrieval.embedding_model import Embedding

        owners, widths = self.built_on(spec)
        if self.dimension is None and len(set(widths.values())) > 1:
            raise A2AError(
                f"the head `embedding` compares `{self.query}` of {spec.parts[self.query]} channels with `{self.positive}` of "
                f"{spec.parts[self.positive]}",
                hint="`dimension` projects both into one space",
            )
        return Embedding(self.sides(), owners, widths, self.pool, self.dimension, self.normalise)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Eight channels, of pictures and sounds."""
        return cls(query="image", positive="audio", pool="attention", dimension=8)
