"""The module of the `conv` encoder."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from a2a_core import Tokens
from a2a_vision.mirroring import Mirror

GROUPS = 8


class ConvModel(nn.Module):
    """Convolutions with stride 2 -> a grid of tokens -> layer norm."""

    def __init__(self, *, channels: int, width: int, stages: int, flip: bool, pool: str, dropout: float) -> None:
        super().__init__()
        self.width, self.pool = width, pool
        self.mirror = Mirror() if flip else nn.Identity()
        widths = [channels, *(width // 2 ** (stages - 1 - stage) for stage in range(stages))]
        self.stages = nn.Sequential(*(Stage(before, after) for before, after in pairwise(widths)))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, pixel_values: Tensor) -> Tokens:
        """(N, channels, H, W) -> (N, T, width)."""
        grid = self.stages(self.mirror(pixel_values)).flatten(2).transpose(1, 2)
        if self.pool != "none":
            grid = grid.mean(1, keepdim=True) if self.pool == "mean" else grid.amax(1, keepdim=True)
        tokens = self.dropout(self.norm(grid))
        return Tokens(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))


class Stage(nn.Sequential):
    """(N, channels, H, W) -> (N, width, ceil(H / 2), ceil(W / 2))."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, stride=2, padding=1),
            nn.GroupNorm(math.gcd(width, GROUPS), width),
            nn.GELU(),
        )
