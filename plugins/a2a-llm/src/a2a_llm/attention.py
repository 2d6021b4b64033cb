"""The projector `attention`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.components import ProjectorConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import nn


class AttentionProjector(ProjectorConfig):
    """A fixed number of learned queries read all tokens of a medium: a resampler (Flamingo, arXiv 2204.14198, section 3.1.1).

    Each layer is cross-attention of the queries over the tokens and themselves, then an MLP, both pre-norm. However long a
    medium is, it costs the language model `num_queries` tokens.

    Shapes: (N, T, width) to (N, num_queries, out). What a token says of its place is the encoder's to add.
    """

    name = "attention"
    num_queries: int = option("tokens of a medium", default=64, ge=1)
    layers: int = option("layers", default=2, ge=1)
    hidden_size: int | None = option("channels inside (none: the encoder's)", default=None, ge=1)
    num_heads: int = option("attention heads of a layer; divides the channels inside", default=8, ge=1)
    mlp_ratio: float = option("hidden channels of an MLP, as a multiple of the channels inside", default=4.0, gt=0)

    def check(self) -> None:
        """Heads of one size."""
        if self.hidden_size is not None and self.hidden_size % self.num_heads:
            raise ValueError(f"`hidden_size` = {self.hidden_size} must be a multiple of `num_heads` = {self.num_heads}")

    def length(self, tokens: int) -> int:
        """Always as many."""
        return self.num_queries

    def build(self, width: int, out: int) -> nn.Module:
        """The queries and their layers."""
        from a2a_llm.attention_model import Resampler

        inside = self.hidden_size or width
        if inside % self.num_heads:
            raise ValueError(
                f"the projector `attention` has {inside} channels inside, no multiple of `num_heads` = {self.num_heads}"
            )
        return Resampler(width, inside, out, self.num_queries, self.layers, self.num_heads, round(inside * self.mlp_ratio))

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three queries."""
        return cls(num_queries=3, num_heads=2, mlp_ratio=2.0)
