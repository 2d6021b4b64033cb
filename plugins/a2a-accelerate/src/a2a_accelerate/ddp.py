"""The backend `ddp`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from a2a_accelerate.ranks import RanksBackend
from a2a_accelerate.single import on_cpu

if TYPE_CHECKING:
    from a2a_core.holding import Holding
    from a2a_core.model import A2AModel


class DdpBackend(RanksBackend):
    """Several processes, each with the whole model on a device of its own; gradients are averaged (DistributedDataParallel).

    `a2a train` starts them through torch's elastic launch; under `torchrun` it joins those that are there.
    """

    name = "ddp"

    def holding(self, model: A2AModel, accelerator: Any) -> Holding:
        """See BackendConfig.holding."""
        from a2a_accelerate.replicas import Replicas

        return Replicas(model, accelerator)

    def wanted(self) -> Mapping[str, Any]:
        """See RanksBackend.wanted."""
        wanted = super().wanted()
        if wanted["world_size"] == 1:
            return wanted
        several = "MULTI_CPU" if on_cpu(self.device) else "MULTI_GPU"
        return {**wanted, "distributed_type": several, "wrapper": "DistributedDataParallel"}
