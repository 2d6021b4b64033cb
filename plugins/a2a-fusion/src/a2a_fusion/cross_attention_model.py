"""The module of fusion `cross-attention`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from a2a_core.structures import Fused, Tokens
from a2a_fusion.attention import Block, Shape
from a2a_fusion.streams import Stream, blank, gather, join, learned, masked_mean, place


class CrossAttentionModel(nn.Module):
    """The query modality's blocks, and what marks the others."""

    def __init__(
        self, names: Iterable[str], query: str, shape: Shape, layers: int, pool: Literal["class-token", "mean"]
    ) -> None:
        super().__init__()
        self.input_width = self.width = shape.width
        self.head_width, self.query, self.pool = shape.head_width, query, pool
        self.others = sorted(set(names) - {query})
        self.class_token = nn.Parameter(torch.empty(1, shape.width))
        nn.init.normal_(self.class_token, std=0.02)
        self.self_blocks = nn.ModuleList(Block(shape) for _ in range(layers))
        self.cross_blocks = nn.ModuleList(Block(shape, cross=True) for _ in range(layers if self.others else 0))
        self.modality: nn.Parameter | None = None
        if self.others:
            self.modality = nn.Parameter(torch.empty(len(self.others), shape.width))
            nn.init.normal_(self.modality, std=0.02)
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """Encoded items to the query's tokens and one vector a sample."""
        size = inputs["size"]
        parts = gather(encoded, [self.query, *self.others], size, self.class_token.dtype)
        stream = join([learned(self.class_token, size, self.head_width), place(parts[self.query], self.head_width)])
        context = self.context(parts)
        for layer, block in enumerate(self.self_blocks):
            if context is not None:
                stream = self.cross_blocks[layer](stream, context)
            stream = block(stream)
        tokens = blank(Tokens(self.norm(stream.values), stream.mask))
        pooled = tokens.values[:, 0] if self.pool == "class-token" else masked_mean(*tokens[:2])
        asked = Tokens(tokens.values[:, 1:], tokens.mask[:, 1:])
        return Fused(size, tokens, pooled, {**parts, self.query: asked})

    def context(self, parts: Mapping[str, Tokens]) -> Stream | None:
        """The other modalities' tokens, marked, in one stream; None when this encoder is the only one."""
        if self.modality is None:
            return None
        streams = []
        for name, mark in zip(self.others, self.modality, strict=True):
            stream = place(parts[name], self.head_width)
            streams.append(stream._replace(values=stream.values + mark))
        return join(streams)
