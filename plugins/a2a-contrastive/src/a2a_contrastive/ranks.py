"""The rows of all ranks, with gradients."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F


def world_size() -> int:
    """How many ranks there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def all_rows(*tensors: Tensor) -> tuple[tuple[Tensor, ...], int]:
    """Each tensor (B, …) of every rank below one another, and where this rank's rows start.

    Ranks may have different numbers of rows: the shorter are padded with zeros, or false. What another rank's loss owes to this
    rank's rows comes back as their gradient. All ranks must call it.
    """
    if world_size() == 1:
        return tensors, 0
    size = torch.tensor(len(tensors[0]), device=tensors[0].device)
    dist.all_reduce(size, dist.ReduceOp.MAX)
    most = int(size)
    return tuple(gather(padded(tensor, most)) for tensor in tensors), most * dist.get_rank()


def padded(tensor: Tensor, size: int) -> Tensor:
    """With zeros below."""
    return F.pad(tensor, (0, 0) * (tensor.dim() - 1) + (0, size - len(tensor)))


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
