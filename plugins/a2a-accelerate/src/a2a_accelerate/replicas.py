"""A model that is whole on every rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from a2a_accelerate.buffers import Buffers
from a2a_core.holding import Holding

if TYPE_CHECKING:
    from a2a_core.model import A2AModel


class Replicas(Holding):
    """Gradients are averaged by DistributedDataParallel, and buffers that change are the first rank's, once a step."""

    def __init__(self, model: A2AModel, accelerator: Any) -> None:
        super().__init__(model, accelerator)
        self.buffers = Buffers(model)

    def begin(self, wrapped: nn.Module, optimizer: Any) -> None:
        """See Holding.begin."""
        super().begin(wrapped, optimizer)
        for module in wrapped.modules():  # it may be within what is compiled
            if isinstance(module, DistributedDataParallel):
                module.forward_sync_buffers = False

    def norms(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> dict[str, Tensor]:
        """See Holding.norms. The first that a step asks for, once gradients are there."""
        self.buffers.spread(self.accelerator.device)
        return super().norms(groups)
