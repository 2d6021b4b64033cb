"""The module of the `log-mel` encoder."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from a2a_core import Tokens

KERNEL = 7


class LogMelModel(nn.Module):
    """Two convolutions of stride 2, convolution blocks, transformer layers. No operation over time sees padding."""

    def __init__(self, inputs: int, width: int, conv_layers: int, layers: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.ModuleList([Downsample(inputs, width), Downsample(width, width)])
        self.dropout = nn.Dropout(dropout)
        self.conv_layers = nn.ModuleList(ConvBlock(width, dropout) for _ in range(conv_layers))
        self.layers = nn.ModuleList(TransformerLayer(width, num_heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, frames: Tensor) -> Tokens:
        """Features (N, F, inputs), of which `frames` (N,) are real -> (N, ceil(F / 4), width)."""
        values, mask = features, up_to(frames, features.shape[1])
        for downsample in self.stem:
            values = downsample(values, mask)
            frames = (frames + 1) // 2
            mask = up_to(frames, values.shape[1])
        values = self.dropout(values)
        for block in self.conv_layers:
            values = block(values, mask)
        values = values + sinusoids(values) if len(self.layers) else values
        for layer in self.layers:
            values = layer(values, mask)
        return Tokens(hidden(self.norm(values), mask), mask)


class Downsample(nn.Module):
    """(N, T, C) -> (N, ceil(T / 2), width): convolution of kernel 3, GELU, layer norm."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, width, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(width)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Positions where the mask (N, T) is false count as zero."""
        return cast("Tensor", self.norm(F.gelu(self.conv(hidden(values, mask).transpose(1, 2)).transpose(1, 2))))


class ConvBlock(nn.Module):
    """A residual block of ConvNeXt (arXiv 2201.03545, figure 4) over time, its norm in front: (N, T, C) -> (N, T, C)."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.depthwise = nn.Conv1d(width, width, KERNEL, padding=KERNEL // 2, groups=width)
        self.mlp = mlp(width, dropout)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Positions where the mask (N, T) is false count as zero."""
        normed = hidden(self.norm(values), mask)
        return values + cast("Tensor", self.mlp(self.depthwise(normed.transpose(1, 2)).transpose(1, 2)))


class TransformerLayer(nn.Module):
    """Pre-norm attention and MLP: (N, T, C) -> (N, T, C)."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.residual = nn.Dropout(dropout)
        self.mlp = mlp(width, dropout)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Nothing attends to positions where the mask (N, T) is false."""
        query, key, value = self.qkv(self.attention_norm(values)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None], dropout_p=dropout)
        values = values + self.residual(self.out(attended.transpose(1, 2).flatten(2)))
        return values + cast("Tensor", self.mlp(self.mlp_norm(values)))


def mlp(width: int, dropout: float) -> nn.Sequential:
    """Width -> 2 width -> width."""
    return nn.Sequential(
        nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width), nn.Dropout(dropout)
    )


def up_to(lengths: Tensor, size: int) -> Tensor:
    """(N,) -> bool (N, size), true before each length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def hidden(values: Tensor, mask: Tensor) -> Tensor:
    """Zero where the mask is false."""
    return values.masked_fill(~mask[..., None], 0)


def sinusoids(values: Tensor) -> Tensor:
    """Positions (T, C) of values (N, T, C), as in arXiv 1706.03762, section 3.5, sines first; C is even."""
    _, length, width = values.shape
    rates = torch.exp(torch.arange(0, width, 2, device=values.device) * (-math.log(1e4) / width))
    angles = torch.arange(length, device=values.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1).to(values.dtype)
