"""The module of the projector `pixel-shuffle`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from a2a_core.structures import Tokens


class PixelShuffle(nn.Module):
    """Neighbours side by side, norm, MLP."""

    def __init__(self, width: int, out: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        inputs = width * factor * factor
        self.layers = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, out), nn.GELU(), nn.Linear(out, out))

    def forward(self, tokens: Tokens) -> Tokens:
        """(N, s * s, width) -> (N, (s / factor)^2, out)."""
        gathered, mask = neighbours(tokens.values, tokens.mask, self.factor)
        return tokens._replace(values=self.layers(gathered), mask=mask)


def neighbours(values: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """(N, T, C) -> (N, T / factor^2, factor^2 C): each item's own square, its real tokens first, cut into blocks by row.

    Places are computed from each item's mask, so that squares of different sides share a batch; the shapes are static.
    """
    area = factor * factor
    size, longest, _ = values.shape
    count = mask.sum(1, keepdim=True)
    side = count.double().sqrt().round().long()
    blocks = torch.div(side, factor, rounding_mode="floor").clamp(min=1)
    place = torch.arange(longest // area, device=values.device)[None]
    top, left = torch.div(place, blocks, rounding_mode="floor") * factor, place % blocks * factor
    step = torch.arange(factor, device=values.device)
    rows, columns = top[:, :, None, None] + step[:, None], left[:, :, None, None] + step
    source = (rows * side[:, :, None, None] + columns).clamp(max=longest - 1).flatten(1)
    taken = values.gather(1, source[..., None].expand(-1, -1, values.shape[-1]))
    real = place < torch.div(count, area, rounding_mode="floor")
    joined = taken.reshape(size, longest // area, -1)
    return joined.masked_fill(~real[..., None], 0), real
