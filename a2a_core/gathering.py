"""What losses over a whole optimizer step compare: the rows of several micro-batches, and of all ranks, with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from a2a_core.ranks import together


def one_behind_the_other(batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors of several batches by name, (B, …) each, as if they were one batch; other dimensions padded with zeros."""
    return {name: laid_together([batch[name] for batch in batches]) for name in batches[0]} if batches else {}


def laid_together(tensors: Sequence[Tensor]) -> Tensor:
    """(B, …) tensors along their first dimension; the others are padded with zeros, or false, to the most."""
    most = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    return torch.cat([padded(tensor, [len(tensor), *most]) for tensor in tensors])


def all_rows(*tensors: Tensor) -> tuple[tuple[Tensor, ...], int]:
    """Each tensor (B, …) of every rank below one another, and where this rank's rows start.

    Ranks may have different numbers of rows, and other dimensions: the smaller are padded with zeros, or false. What another
    rank's loss owes to this rank's rows comes back as their gradient. All ranks must call it.
    """
    if not together():
        return tensors, 0
    sizes = torch.tensor([size for tensor in tensors for size in tensor.shape], device=tensors[0].device)
    dist.all_reduce(sizes, dist.ReduceOp.MAX)
    most = iter(sizes.tolist())
    shapes = [[next(most) for _ in tensor.shape] for tensor in tensors]
    gathered = tuple(gather(padded(tensor, shape)) for tensor, shape in zip(tensors, shapes, strict=True))
    return gathered, shapes[0][0] * dist.get_rank()


def padded(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """With zeros behind, in every dimension."""
    missing = [size for have, want in zip(reversed(tensor.shape), reversed(shape), strict=True) for size in (0, want - have)]
    return F.pad(tensor, missing) if any(missing) else tensor


def gather(tensor: Tensor) -> Tensor:
    """Of all ranks, as many rows each."""
    gathered: Tensor = Gather.apply(tensor)  # type: ignore[no-untyped-call]
    return gathered


class Gather(torch.autograd.Function):
    """all_gather along the rows; torch's own with gradients is deprecated, and its successor private."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        """(B, …) of each rank -> (ranks * B, …)."""
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        """The sum over ranks of what each owes to this rank's rows."""
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
