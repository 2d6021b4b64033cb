"""The module of the `patch` encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from a2a_core import Tokens
from a2a_vision.mirroring import Mirror

MLP_RATIO = 4


class Block(nn.Module):
    """Pre-norm attention and MLP, each beside a residual connection."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, MLP_RATIO * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(MLP_RATIO * width, width),
            nn.Dropout(dropout),
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, width) -> the same."""
        heads = self.qkv(self.attention_norm(tokens)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.drop(self.out(mixed))
        changed: Tensor = self.mlp(tokens)
        return tokens + changed


class PatchModel(nn.Module):
    """Linear patch embedding + positions -> pre-norm transformer layers -> layer norm."""

    positions: Tensor

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        num_heads: int,
        dropout: float,
        grid: int,
        patch_size: int,
        channels: int,
        learned_positions: bool,
        flip: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.grid, self.learned_positions = width, grid, learned_positions
        self.mirror = Mirror() if flip else nn.Identity()
        self.patches = nn.Conv2d(channels, width, patch_size, patch_size)
        self.blocks = nn.ModuleList(Block(width, num_heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        if learned_positions:
            self.positions = nn.Parameter(torch.empty(grid * grid, width))
            nn.init.trunc_normal_(self.positions, std=0.02)
        else:
            self.register_buffer("positions", torch.empty(grid * grid, width), persistent=False)
            self.reset_buffers()
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        fan_in = channels * patch_size**2
        nn.init.trunc_normal_(self.patches.weight, std=fan_in**-0.5)

    def reset_buffers(self) -> None:
        """Fill the fixed positions, which are not saved."""
        if not self.learned_positions:
            self.positions.copy_(sincos_2d(self.grid, self.width, self.positions.device))

    def forward(self, pixel_values: Tensor) -> Tokens:
        """(N, channels, H, W) -> (N, grid^2, width)."""
        patches = self.patches(self.mirror(pixel_values)).flatten(2).transpose(1, 2)
        tokens = patches + self.positions.to(patches.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        return Tokens(self.norm(tokens), torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device))


def sincos_2d(grid: int, width: int, device: torch.device) -> Tensor:
    """(grid^2, width): sines and cosines of the column in the first half of the channels, of the row in the second.

    The frequencies are 10000^(-i / (width / 4)), as in MAE (arXiv 2111.06377, appendix A).
    """
    quarter = width // 4
    frequencies = 10000.0 ** (-torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
    angles = torch.arange(grid, device=device, dtype=torch.float32)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    columns, rows = waves.repeat(grid, 1), waves.repeat_interleave(grid, dim=0)
    return torch.cat([columns, rows], dim=1)
