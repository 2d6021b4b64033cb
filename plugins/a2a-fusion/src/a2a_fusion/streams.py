"""Padded sequences by sample: gathering, positions, joining, pooling. B samples, T tokens, C channels, D channels of a head."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from a2a_core.structures import Tokens

ROPE_BASE = 10_000.0


class Stream(NamedTuple):
    """A padded sequence and where its tokens stand: values (B, T, C), mask (B, T), the rotation's cos and sin (B, T, D / 2)."""

    values: Tensor
    mask: Tensor
    cos: Tensor
    sin: Tensor


def gather(encoded: Mapping[str, Tokens], names: Iterable[str], size: int, dtype: torch.dtype) -> dict[str, Tokens]:
    """Each modality's tokens by sample, in `dtype`, zero where there is none: what stands in padding has no way in."""
    parts = {}
    for name in names:
        tokens = encoded[name].by_sample(size)
        parts[name] = blank(Tokens(tokens.values.to(dtype), tokens.mask))
    return parts


def blank(tokens: Tokens) -> Tokens:
    """Zeros where the mask is false."""
    return tokens._replace(values=tokens.values.masked_fill(~tokens.mask[..., None], 0))


def place(tokens: Tokens, head_width: int) -> Stream:
    """A stream whose positions count the real tokens before each, so that padding, wherever it lies, shifts none of them."""
    positions = (tokens.mask.cumsum(1) - 1).clamp(min=0)
    return Stream(tokens.values, tokens.mask, *rotation(positions, head_width, tokens.values.dtype))


def learned(tokens: Tensor, size: int, head_width: int) -> Stream:
    """Learned tokens (n, C), the same for every sample, not rotated: they stand at position 0."""
    positions = torch.zeros(size, tokens.shape[0], dtype=torch.long, device=tokens.device)
    mask = torch.ones_like(positions, dtype=torch.bool)
    return Stream(tokens.expand(size, -1, -1), mask, *rotation(positions, head_width, tokens.dtype))


def join(streams: Iterable[Stream]) -> Stream:
    """One after the other along time; every token keeps its position."""
    return Stream(*(torch.cat(columns, 1) for columns in zip(*streams, strict=True)))


def rotation(positions: Tensor, head_width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the rotary angles (arXiv 2104.09864, section 3.2.2) at (B, T) positions: (B, T, D / 2).

    Never in less than float32: bfloat16 cannot count beyond 256.
    """
    precise = torch.promote_types(dtype, torch.float32)
    steps = torch.arange(0, head_width, 2, device=positions.device, dtype=precise)
    angles = positions[..., None].to(precise) * ROPE_BASE ** (-steps / head_width)
    return angles.cos(), angles.sin()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens (B, C); zeros for a sample that has none."""
    total = values.masked_fill(~mask[..., None], 0).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1).to(values.dtype)


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """Maximum over real tokens (B, C); zeros for a sample that has none."""
    if values.shape[1] == 0:
        return values.sum(1)
    lowest = torch.finfo(values.dtype).min
    highest = values.masked_fill(~mask[..., None], lowest).amax(1)
    return highest.masked_fill(~mask.any(1, keepdim=True), 0)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over real tokens (B, T); zeros for a sample that has none."""
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(1).masked_fill(~mask, 0)
