"""Fusion `perceiver`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.options import option
from a2a_fusion.transformer import TransformerFusion

if TYPE_CHECKING:
    from torch import nn


class Perceiver(TransformerFusion):
    """Learned latents read all modalities, again and again (arXiv 2103.03206; encoder of Perceiver IO, arXiv 2107.14795).

    A layer is a cross-attention block, latents over the tokens of all modalities, then `self_layers` self-attention blocks
    among latents. Tokens carry a learned embedding of their modality and a rotary position that counts the modality's real
    tokens; latents are not rotated (position 0). A sample without any token keeps what the latents alone become.

    `tokens` (B, num_latents, C): the latents. `pooled` (B, C): their mean. `parts`: each modality's tokens as they came.
    Cost of a layer for L latents, S tokens of all modalities, width C, MLP ratio r: about
    4SC² + 4LSC + (1 + self_layers)(8 + 4r)LC² operations. That is linear in S: the choice for long inputs.
    """

    name = "perceiver"
    num_latents: int = option("learned vectors that read the tokens", default=32, gt=0)
    layers: int = option("times that the latents read the tokens", default=2, gt=0)
    self_layers: int = option("self-attention blocks among latents after each reading", default=2, ge=0)
    share_weights: bool = option("every layer but the first uses the same weights", default=False)

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The module."""
        from a2a_fusion.perceiver_model import PerceiverModel

        shape = self.shape(widths)
        return PerceiverModel(widths, shape, self.num_latents, self.layers, self.self_layers, self.share_weights)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two layers of eight channels, three latents."""
        return cls(width=8, num_heads=2, num_latents=3, self_layers=1, mlp_ratio=2.0, dropout=0.0)
