"""The module of fusion `bottleneck`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from a2a_core.structures import Fused, Tokens
from a2a_fusion.attention import Block, Shape
from a2a_fusion.streams import Stream, blank, gather, join, learned, masked_mean, place


class BottleneckModel(nn.Module):
    """Blocks for each modality, and the tokens between them."""

    def __init__(
        self,
        names: Iterable[str],
        shape: Shape,
        layers: int,
        fusion_layer: int,
        num_bottlenecks: int,
        pool: Literal["bottleneck", "mean"],
    ) -> None:
        super().__init__()
        self.input_width = self.width = shape.width
        self.head_width, self.pool = shape.head_width, pool
        self.layers, self.fusion_layer = layers, fusion_layer
        self.blocks = nn.ModuleDict({name: nn.ModuleList(Block(shape) for _ in range(layers)) for name in sorted(names)})
        self.bottlenecks = nn.Parameter(torch.empty(num_bottlenecks, shape.width))
        nn.init.normal_(self.bottlenecks, std=0.02)
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """Encoded items to bottlenecks, one vector and each modality's tokens, by sample."""
        size, dtype = inputs["size"], self.bottlenecks.dtype
        parts = gather(encoded, self.blocks, size, dtype)
        streams = {name: self.alone(name, place(part, self.head_width)) for name, part in parts.items()}
        present = torch.stack([part.mask.any(1) for part in parts.values()], 1)
        shares = present.to(dtype) / present.sum(1, keepdim=True).clamp(min=1).to(dtype)
        bottlenecks = learned(self.bottlenecks, size, self.head_width)
        for layer in range(self.fusion_layer, self.layers):
            streams, bottlenecks = self.exchange(layer, streams, bottlenecks, shares)
        parts = {name: blank(Tokens(self.norm(stream.values), stream.mask)) for name, stream in streams.items()}
        tokens = Tokens(self.norm(bottlenecks.values), bottlenecks.mask)
        return Fused(size, tokens, self.pooled(tokens, parts, shares), parts)

    def stack(self, name: str) -> nn.ModuleList:
        """A modality's blocks."""
        return cast("nn.ModuleList", self.blocks[name])

    def alone(self, name: str, stream: Stream) -> Stream:
        """The layers before the fusion."""
        for layer in range(self.fusion_layer):
            stream = self.stack(name)[layer](stream)
        return stream

    def exchange(
        self, layer: int, streams: Mapping[str, Stream], bottlenecks: Stream, shares: Tensor
    ) -> tuple[dict[str, Stream], Stream]:
        """One layer: each modality beside the bottlenecks; `shares` (B, M) weigh the modalities' versions of these."""
        after, proposals = {}, []
        for name, stream in streams.items():
            joined = self.stack(name)[layer](join([stream, bottlenecks])).values
            own, proposal = joined.split([stream.values.shape[1], bottlenecks.values.shape[1]], 1)
            after[name] = stream._replace(values=own)
            proposals.append(proposal)
        mean = (torch.stack(proposals, 1) * shares[:, :, None, None]).sum(1)
        someone = shares.any(1)[:, None, None]
        return after, bottlenecks._replace(values=torch.where(someone, mean, bottlenecks.values))

    def pooled(self, tokens: Tokens, parts: Mapping[str, Tokens], shares: Tensor) -> Tensor:
        """One vector a sample, (B, C)."""
        if self.pool == "bottleneck":
            return tokens.values.mean(1)
        means = torch.stack([masked_mean(part.values, part.mask) for part in parts.values()], 1)
        return (means * shares[:, :, None]).sum(1)
