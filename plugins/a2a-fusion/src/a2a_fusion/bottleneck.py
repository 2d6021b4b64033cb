"""Fusion `bottleneck`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from a2a_core.options import option
from a2a_fusion.transformer import TransformerFusion

if TYPE_CHECKING:
    from torch import nn


class Bottleneck(TransformerFusion):
    """Multimodal bottleneck transformer (arXiv 2107.00135, section 3.2.2): modalities meet in a few shared tokens only.

    Every modality has transformer blocks of its own. Before `fusion_layer` they run alone; from it on each attends over its
    own tokens and the shared bottleneck tokens (equation 8), and the new bottlenecks are the mean over the modalities that
    the sample has (equation 9). A modality that a sample lacks changes nothing in it; a sample without any keeps the
    learned bottlenecks. Rotary positions count each modality's real tokens; bottlenecks are not rotated (position 0).

    `tokens` (B, num_bottlenecks, C): the bottlenecks. `pooled` (B, C). `parts`: each modality's tokens after the last block,
    zeros in padding. Cost of a layer and modality for T tokens, n bottlenecks, width C, MLP ratio r:
    (8 + 4r)(T + n)C² + 4(T + n)²C operations, so the sum over modalities, never their product.
    """

    name = "bottleneck"
    layers: int = option("transformer blocks of each modality", default=4, gt=0)
    fusion_layer: int = option("the first layer, from 0, that exchanges information", default=1, ge=0)
    num_bottlenecks: int = option("shared tokens through which modalities exchange information", default=4, gt=0)
    pool: Literal["bottleneck", "mean"] = option(
        "pooled vector: mean of the bottlenecks, or mean over the sample's modalities of their tokens' mean",
        default="bottleneck",
    )

    def check(self) -> None:
        """At least one layer fuses."""
        super().check()
        if self.fusion_layer >= self.layers:
            raise ValueError(f"`fusion_layer` {self.fusion_layer} must be below `layers` {self.layers}: no layer would fuse")

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The module."""
        from a2a_fusion.bottleneck_model import BottleneckModel

        return BottleneckModel(widths, self.shape(widths), self.layers, self.fusion_layer, self.num_bottlenecks, self.pool)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two layers of eight channels."""
        return cls(width=8, num_heads=2, layers=2, num_bottlenecks=2, mlp_ratio=2.0, dropout=0.0)
