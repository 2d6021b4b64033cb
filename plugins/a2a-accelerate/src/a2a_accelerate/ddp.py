"""The backend `ddp`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from a2a_accelerate.single import compare, on_cpu, prepare
from a2a_core import A2AError, BackendConfig, option


class DdpBackend(BackendConfig):
    """Several processes, each with the whole model on a device of its own; gradients are averaged (DistributedDataParallel).

    `a2a train` starts them through torch's elastic launch; under `torchrun` it joins those that are there.
    """

    name = "ddp"
    processes: int = option("ranks on this machine (0: one for each GPU)", default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = option("where to compute; `auto`: GPUs where there are any", default="auto")
    threads: int = option("CPU threads of torch in each rank", default=1, ge=1)
    timeout: float = option("seconds that ranks wait for one another before the run fails", default=1800.0, gt=0)

    def ranks(self) -> int:
        """How many to start; A2AError when the machine cannot hold them."""
        import torch

        gpus = 0 if on_cpu(self.device) else torch.cuda.device_count()
        ranks = self.processes or gpus
        if not ranks:
            raise A2AError(
                "`backend.processes` = 0 means one rank for each GPU, and torch sees none", hint="set `backend.processes`"
            )
        if gpus and ranks > gpus:
            raise A2AError(f"`backend.processes` = {ranks}, but this machine has {gpus} GPU(s)")
        return ranks

    def joined(self) -> bool:
        """Under torchrun, or started by `launch`."""
        return "RANK" in os.environ and "WORLD_SIZE" in os.environ

    def launch(self, command: Sequence[str], folder: Path) -> None:
        """See BackendConfig.launch."""
        from a2a_accelerate.launch import launch

        prepare(self.device, self.threads)
        launch(command, self.ranks(), self.threads, folder)

    def setup(self) -> None:
        """See BackendConfig.setup."""
        import torch
        import torch.distributed as dist

        prepare(self.device, self.threads)
        cpu = on_cpu(self.device)
        if not cpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        if not dist.is_initialized():
            dist.init_process_group("gloo" if cpu else "nccl", timeout=timedelta(seconds=self.timeout))
        if self.processes and dist.get_world_size() != self.processes:
            raise A2AError(f"`backend.processes` = {self.processes}, but {dist.get_world_size()} ranks were started")

    def arguments(self) -> Mapping[str, Any]:
        """See BackendConfig.arguments."""
        cpu = on_cpu(self.device)
        return {"use_cpu": cpu, "ddp_backend": "gloo" if cpu else "nccl", "ddp_timeout": max(1, int(self.timeout))}

    def verify(self, state: Mapping[str, Any]) -> None:
        """See BackendConfig.verify."""
        import torch.distributed as dist

        cpu = on_cpu(self.device)
        ranks = dist.get_world_size()
        wanted = {"world_size": ranks, "device": "cpu" if cpu else "cuda"}
        if ranks > 1:
            wanted |= {"distributed_type": "MULTI_CPU" if cpu else "MULTI_GPU", "wrapper": "DistributedDataParallel"}
        compare(state, wanted)

    def teardown(self) -> None:
        """See BackendConfig.teardown."""
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
