"""Positions in time, height and width of texts with media in them (M-RoPE, arXiv 2409.12191, section 2.1).

A text token has one number for all three. A medium's tokens have that of its place plus where they are in it; what follows
continues behind the larger of its sides. Each text starts at 0, wherever it lies in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """A medium's tokens, or those of a part of it that text keeps apart from the others."""

    time: int
    height: int
    width: int
    step: float = 1.0
    """Positions from one moment to the next."""

    @property
    def tokens(self) -> int:
        """How many."""
        return self.time * self.height * self.width

    def offsets(self) -> Tensor:
        """Each token's place in it (3, tokens)."""
        moments = (torch.arange(self.time) * self.step).long()
        axes = torch.meshgrid(moments, torch.arange(self.height), torch.arange(self.width), indexing="ij")
        return torch.stack(axes).flatten(1)


def grids_of(tensors: Mapping[str, Any], merge: int, timestamps: bool) -> list[Grid]:
    """The grids of merged patches of a modality's items; where timestamps stand between frames, each frame's."""
    found = []
    steps = tensors.get("steps") or [1.0] * len(tensors["grids"])
    for (time, height, width), step in zip(tensors["grids"], steps, strict=True):
        sides = height // merge, width // merge
        found += [Grid(1, *sides)] * time if timestamps else [Grid(time, *sides, step)]
    return found


def spatial(positions: Tensor, lengths: Sequence[int], media: Sequence[tuple[Tensor, Sequence[Grid]]]) -> Tensor:
    """`positions` (T,) from 0 in each text, the texts' `lengths`, each modality's places (P,) and grids -> (3, T).

    All shapes are known beforehand: nothing waits for the device.
    """
    device = positions.device
    saved = torch.zeros_like(positions)
    for places, grids in media:
        last = torch.tensor([each.tokens for each in grids]).cumsum(0) - 1
        gains = torch.tensor([each.tokens - max(each.height, each.width) for each in grids])
        saved = saved.index_add(0, places[moved(last, device)], moved(gains, device))
    before = saved.cumsum(0) - saved  # of media that end before
    starts = torch.cat([torch.full((length,), start) for start, length in zip(beginnings(lengths), lengths, strict=True)])
    line = positions - (before - before[moved(starts, device)])
    found = line.expand(3, -1).clone()
    for places, grids in media:
        sizes = [each.tokens for each in grids]
        firsts = [torch.full((size,), start) for start, size in zip(beginnings(sizes), sizes, strict=True)]
        at = line[places[moved(torch.cat(firsts), device)]]
        found = found.index_copy(1, places, at + moved(torch.cat([each.offsets() for each in grids], 1), device))
    return found


def beginnings(lengths: Sequence[int]) -> list[int]:
    """Where each of some pieces begins that lie one behind the other."""
    starts = [0]
    for length in lengths[:-1]:
        starts.append(starts[-1] + length)
    return starts


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, without waiting for it."""
    return tensor.to(device, non_blocking=True)
