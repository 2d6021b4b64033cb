"""The module of the `pointnet` encoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from a2a_core import Tokens


class PointNetModel(nn.Module):
    """MLP on each point -> maximum over its group -> (+ MLP of the centre -> transformer layers) -> layer norm."""

    def __init__(
        self,
        *,
        inputs: int,
        hidden_sizes: Sequence[int],
        width: int,
        grouped: bool,
        layers: int,
        num_heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.width = width
        sizes = [inputs, *hidden_sizes]
        steps = [Step(before, after) for before, after in pairwise(sizes)]
        self.points = nn.Sequential(*steps, nn.Linear(sizes[-1], width))
        self.centers = nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, width)) if grouped else None
        self.layers = nn.ModuleList(Layer(width, num_heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, points: Tensor, centers: Tensor, counts: Tensor) -> Tokens:
        """Points (N, G, S, 3 + F), centres (N, G, 3), of which groups `counts` (N, G) points are real -> (N, G, width)."""
        mask = counts > 0
        real = torch.arange(points.shape[2], device=points.device) < counts[..., None]
        values = self.points(points)
        values = values.masked_fill(~real[..., None], torch.finfo(values.dtype).min).amax(2)
        values = values.masked_fill(~mask[..., None], 0)
        if self.centers is not None:
            values = values + self.centers(centers)
        for layer in self.layers:
            values = layer(values, mask)
        return Tokens(self.norm(values).masked_fill(~mask[..., None], 0), mask)


class Step(nn.Sequential):
    """(…, before) -> (…, after), each point by itself."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__(nn.Linear(before, after), nn.LayerNorm(after), nn.GELU())


class Layer(nn.Module):
    """Pre-norm attention and MLP, each beside a residual connection."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(N, G, width) -> the same. Nothing attends to groups where the mask (N, G) is false; each cloud has a real one."""
        query, key, value = self.qkv(self.attention_norm(values)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        values = values + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        changed: Tensor = self.mlp(values)
        return values + changed
