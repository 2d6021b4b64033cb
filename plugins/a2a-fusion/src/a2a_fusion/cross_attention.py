"""Fusion `cross-attention`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from a2a_core.errors import A2AError, suggest
from a2a_core.options import option
from a2a_fusion.transformer import TransformerFusion

if TYPE_CHECKING:
    from torch import nn


class CrossAttention(TransformerFusion):
    """One modality asks all others: in each layer a cross-attention block, then a self-attention block (arXiv 1908.02265, 3.1).

    The query modality's tokens, a learned class token before them, attend over all other modalities' tokens, each marked by
    a learned embedding of its modality. Rotary positions count each modality's real tokens. Where a sample lacks the query
    modality its class token alone asks; where it lacks all others the cross-attention adds nothing. With a single encoder
    only self-attention is built.

    `tokens` (B, 1 + T, C): class token and query tokens. `pooled` (B, C). `parts`: the query modality's tokens after the last
    block, zeros in padding; the other modalities' as they came. Cost of a layer for T query tokens, S others,
    width C, MLP ratio r: about (12 + 8r)TC² + 4SC² + 4T(T + S)C operations; the other modalities are never updated.
    """

    name = "cross-attention"
    layers: int = option("pairs of a cross-attention and a self-attention block", default=2, gt=0)
    query: str = option("the encoder whose tokens ask (empty: the first by name)", default="", refers_to="encoders")
    pool: Literal["class-token", "mean"] = option(
        "pooled vector: the class token, or the mean of it and the query's tokens", default="class-token"
    )

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The module; A2AError when `query` is not an encoder."""
        from a2a_fusion.cross_attention_model import CrossAttentionModel

        shape = self.shape(widths)
        if self.query and self.query not in widths:
            raise A2AError(
                f"fusion `cross-attention`: `query` is `{self.query}`, but the encoders are "
                + ", ".join(f"`{name}`" for name in sorted(widths)),
                hint=suggest(self.query, widths),
            )
        return CrossAttentionModel(widths, self.query or min(widths), shape, self.layers, self.pool)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """One layer of eight channels."""
        return cls(width=8, num_heads=2, layers=1, mlp_ratio=2.0, dropout=0.0)
