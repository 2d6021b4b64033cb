"""The module of the `series` encoder."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from a2a_core import Tokens

SHORTEST, LONGEST = 4, 10_000
"""Windows in which the fastest and the slowest wave of the positions turn once."""


class SeriesModel(nn.Module):
    """Linear embedding + positions -> pre-norm transformer layers -> layer norm."""

    periods: Tensor

    def __init__(self, inputs: int, width: int, layers: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.embed, self.dropout = nn.Linear(inputs, width), nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, num_heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.register_buffer("periods", torch.empty((width + 1) // 2, dtype=torch.int64), persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Fill the periods, which are not saved: a geometric series, rounded to whole windows."""
        steps = torch.linspace(0, 1, len(self.periods), dtype=torch.float64, device=self.periods.device)
        self.periods.copy_((SHORTEST * (LONGEST / SHORTEST) ** steps).round())

    def forward(self, features: Tensor, positions: Tensor, mask: Tensor) -> Tokens:
        """Features (N, T, F), window numbers (N, T), mask (N, T) -> (N, T, width)."""
        values = self.embed(features)
        values = self.dropout(values + self.waves(positions).to(values.dtype))
        for layer in self.layers:
            values = layer(values, mask)
        return Tokens(self.norm(values).masked_fill(~mask[..., None], 0), mask)

    def waves(self, positions: Tensor) -> Tensor:
        """Whole positions (N, T) to float32 sines and cosines (N, T, width).

        The remainder is taken of integers, so that years of data keep their fast waves, whatever the model's precision.
        """
        turns = (positions[..., None] % self.periods).float() / self.periods.float()
        return torch.cat([(2 * pi * turns).sin(), (2 * pi * turns).cos()], -1)[..., : self.width]


class Layer(nn.Module):
    """Pre-norm attention and MLP, each beside a residual connection.

    Of linear layers, not torch's TransformerEncoderLayer, which in evaluation mode reads their weights past what an adapter
    put around them.
    """

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
        """(N, T, width) -> the same. Nothing attends to tokens where the mask (N, T) is false; each item has a real one."""
        query, key, value = self.qkv(self.attention_norm(values)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None])
        values = values + self.dropout(self.out(mixed.transpose(1, 2).flatten(2)))
        changed: Tensor = self.mlp(values)
        return values + changed
