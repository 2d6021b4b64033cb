"""The module of fusion `perceiver`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from a2a_core.structures import Fused, Tokens
from a2a_fusion.attention import Block, Shape
from a2a_fusion.streams import Stream, gather, join, learned, place


class Reading(nn.Module):
    """One layer: latents read the tokens, then talk among themselves."""

    def __init__(self, shape: Shape, self_layers: int) -> None:
        super().__init__()
        self.cross = Block(shape, cross=True)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(self_layers))

    def forward(self, latents: Stream, context: Stream) -> Stream:
        """The latents with new values."""
        latents = self.cross(latents, context)
        for block in self.blocks:
            latents = block(latents)
        return latents


class PerceiverModel(nn.Module):
    """Latents, what marks the modalities, and the layers."""

    def __init__(
        self, names: Iterable[str], shape: Shape, num_latents: int, layers: int, self_layers: int, share_weights: bool
    ) -> None:
        super().__init__()
        self.input_width = self.width = shape.width
        self.names, self.head_width, self.layers = sorted(names), shape.head_width, layers
        self.latents = nn.Parameter(torch.empty(num_latents, shape.width))
        self.modality = nn.Parameter(torch.empty(len(self.names), shape.width))
        for parameter in (self.latents, self.modality):
            nn.init.trunc_normal_(parameter, std=0.02)
        distinct = min(layers, 2) if share_weights else layers
        self.readings = nn.ModuleList(Reading(shape, self_layers) for _ in range(distinct))
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """Encoded items to latents and one vector a sample."""
        size = inputs["size"]
        parts = gather(encoded, self.names, size, self.latents.dtype)
        streams = [place(part, self.head_width) for part in parts.values()]
        context = join(
            [stream._replace(values=stream.values + mark) for stream, mark in zip(streams, self.modality, strict=True)]
        )
        latents = learned(self.latents, size, self.head_width)
        for layer in range(self.layers):
            latents = self.readings[min(layer, len(self.readings) - 1)](latents, context)
        tokens = Tokens(self.norm(latents.values), latents.mask)
        return Fused(size, tokens, tokens.values.mean(1), parts)
