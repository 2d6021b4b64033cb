"""Fusion `concat`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from a2a_core.components import FusionConfig
from a2a_core.options import option
from a2a_fusion.transformer import fused_width

if TYPE_CHECKING:
    from torch import nn


class Concat(FusionConfig):
    """All modalities' tokens side by side, pooled over the real ones, then an MLP: the baseline.

    `tokens` (B, sum of T, C): the concatenation, by encoder name. `pooled` (B, C). `parts`: each modality's tokens, as
    they came. Every token weighs the same in `mean`, so a long modality outweighs a short one; `attention` learns the weights.
    A sample without any token pools to zeros before the MLP.
    """

    name = "concat"
    width: int | None = option("channels of tokens and of the pooled vector (none: the widest encoder's)", default=None, gt=0)
    pool: Literal["mean", "max", "attention"] = option("how real tokens become one vector", default="mean")
    mlp_ratio: float = option("hidden channels of the MLP, as a multiple of the width", default=2.0, gt=0)
    dropout: float = option("probability, inside the MLP", default=0.1, ge=0, lt=1)

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The module."""
        from a2a_fusion.concat_model import ConcatModel

        width = fused_width(self.width, widths)
        return ConcatModel(widths, width, self.pool, max(1, round(width * self.mlp_ratio)), self.dropout)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Eight channels."""
        return cls(width=8, dropout=0.0)
