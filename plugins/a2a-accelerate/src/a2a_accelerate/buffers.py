"""Buffers that forward passes change, running statistics above all: every rank goes on with the first one's."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


class Buffers:
    """Which of a model's saved buffers change is seen in the first step, and agreed on: those are sent, once a step.

    DistributedDataParallel would send all before every forward pass, and packed weights of a model in four bits are buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        saved = model.state_dict().keys()
        self.before = {name: state(each) for name, each in model.named_buffers() if name in saved}
        self.changing: list[str] | None = None

    def spread(self, device: torch.device) -> None:
        """After the step's last forward pass, on every rank."""
        if not self.before or self.changing == []:
            return
        now = dict(self.model.named_buffers())
        if self.changing is None:
            statistics = {
                id(each) for module in self.model.modules() if norms(module) for each in module.buffers(recurse=False)
            }
            changed = torch.tensor(
                [state(now[name]) != old or id(now[name]) in statistics for name, old in self.before.items()],
                dtype=torch.int,
                device=device,
            )
            dist.all_reduce(changed, dist.ReduceOp.MAX)
            self.changing = [name for name, each in zip(self.before, changed.tolist(), strict=True) if each]
        for name in self.changing:
            dist.broadcast(now[name], 0)


def norms(module: nn.Module) -> bool:
    """Whether it keeps running statistics: torch's kernels write them without counting it as a new version."""
    return isinstance(module, _NormBase) and module.training and module.track_running_stats


def state(tensor: Tensor) -> tuple[int, int]:
    """What is another once it was written to, or replaced."""
    return id(tensor), tensor._version
