"""The module of the `frames` encoder."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from a2a_core import A2AError, Tokens

RESOLUTION = 0.1
"""The fastest wave of the times turns by one radian in so many seconds, the slowest in ten thousand times as many."""


class FramesModel(nn.Module):
    """Frames -> image encoder -> (mean) -> (projection) -> + times -> layers along time -> layer norm."""

    def __init__(
        self,
        image: nn.Module,
        *,
        pooled: bool,
        temporal: Literal["attention", "conv", "none"],
        width: int | None,
        layers: int,
        num_heads: int,
        kernel: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.image, self.pooled = image, pooled
        inner: Any = image.width
        self.width = inner if width is None else width
        self.project = nn.Linear(inner, self.width) if self.width != inner else nn.Identity()
        self.dropout, self.norm = nn.Identity(), nn.Identity()
        self.layers = nn.ModuleList()
        if temporal == "none":
            return
        if temporal == "attention" and self.width % num_heads:
            raise A2AError(f"the image encoder's width {inner} must be a multiple of `num_heads` = {num_heads}: set `width`")
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(self.width)
        for _ in range(layers):
            mixer = Attention(self.width, num_heads) if temporal == "attention" else Convolution(self.width, kernel)
            self.layers.append(Layer(self.width, mixer, dropout))

    def train(self, mode: bool = True) -> Self:
        """A frozen image encoder stays in evaluation mode, so that its dropout and statistics stay off."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.image.parameters()):
            self.image.eval()
        return self

    def forward(self, seconds: Tensor, frame_mask: Tensor, **images: Tensor) -> Tokens:
        """(N, F) times and mask, and the image encoder's tensors (N, F, ...) -> (N, F x P, width).

        All frames of all videos go through the image encoder at once. The frames that fill up shorter videos do, too: to leave
        them out would make shapes depend on data. With `sampling = "uniform"` there are none.
        """
        size = frame_mask.shape
        tokens = self.image(**{name: tensor.flatten(0, 1) for name, tensor in images.items()})
        values, mask = tokens.values, tokens.mask & frame_mask.flatten()[:, None]
        if self.pooled:
            values, mask = mean(values, mask)
        values = (
            self.dropout(self.project(values)).unflatten(0, size).transpose(1, 2)
        )  # (N, P, F, C): along time, place by place
        values = values + waves(seconds, self.width)[:, None].to(values.dtype)
        mask = mask.unflatten(0, size).transpose(1, 2)
        along, seen = values.flatten(0, 1), mask.flatten(0, 1)
        for layer in self.layers:
            along = layer(along, seen)
        values = self.norm(along).unflatten(0, values.shape[:2]).transpose(1, 2).flatten(1, 2)
        mask = mask.transpose(1, 2).flatten(1)
        return Tokens(hidden(values, mask), mask)


class Layer(nn.Module):
    """Pre-norm: what mixes the frames, then an MLP on each, both beside a residual connection."""

    def __init__(self, width: int, mixer: nn.Module, dropout: float) -> None:
        super().__init__()
        self.mixer_norm, self.mixer, self.dropout = nn.LayerNorm(width), mixer, nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """(M, F, C) with the mask (M, F) -> (M, F, C)."""
        values = values + self.dropout(self.mixer(self.mixer_norm(values), mask))
        changed: Tensor = self.mlp(values)
        return values + changed


class Attention(nn.Module):
    """Multi-head attention over the frames."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """No frame attends to one where the mask is false, but each to itself: a row that sees nothing would be NaN."""
        query, key, value = self.qkv(values).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=(mask[:, None] | itself)[:, None])
        mixed: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return mixed


class Convolution(nn.Module):
    """A convolution over neighbouring frames, each channel by itself; the MLP behind it mixes channels."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Frames where the mask is false count as zero."""
        mixed: Tensor = self.conv(hidden(values, mask).transpose(1, 2)).transpose(1, 2)
        return mixed


def mean(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(M, P, C), (M, P) -> the mean of the real tokens (M, 1, C), and whether there are any (M, 1)."""
    total, count = hidden(values, mask).sum(1, keepdim=True), mask.sum(1, keepdim=True)
    return total / count.clamp(min=1)[..., None], count > 0


def hidden(values: Tensor, mask: Tensor) -> Tensor:
    """Zero where the mask is false."""
    return values.masked_fill(~mask[..., None], 0)


def waves(seconds: Tensor, width: int) -> Tensor:
    """Times (N, F) as sines and cosines (N, F, width): arXiv 1706.03762, section 3.5, with seconds for positions."""
    half = (width + 1) // 2
    rates = 1e4 ** (-torch.arange(half, device=seconds.device, dtype=torch.float32) / half) / RESOLUTION
    angles = seconds[..., None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], -1)[..., :width]
