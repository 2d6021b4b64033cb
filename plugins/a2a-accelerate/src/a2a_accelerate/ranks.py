"""What all backends with several ranks share: starting or joining them, and seeing that what runs is what was asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from a2a_accelerate.single import compare, on_cpu, prepare
from a2a_core import A2AError, BackendConfig, option


class RanksBackend(BackendConfig):
    """Base of backends with several ranks, each on a device of its own.

    A subclass says how the ranks share the model: `holding`, `wanted`, and what it needs of `arguments`.
    """

    processes: int = option("ranks on each machine (0: one for each GPU)", default=0, ge=0)
    nodes: int = option("machines; `a2a train` is run on each of them", default=1, ge=1)
    rendezvous: str = option("where the machines meet: host:port of one of them", default="")
    max_restarts: int = option("how often ranks are started again, from the last checkpoint, when one died", default=0, ge=0)
    device: Literal["auto", "cpu", "cuda"] = option("where to compute; `auto`: GPUs where there are any", default="auto")
    threads: int = option("CPU threads of torch in each rank", default=1, ge=1)
    timeout: float = option("seconds that ranks wait for one another before the run fails", default=1800.0, gt=0)

    def ranks(self) -> int:
        """How many to start on this machine; A2AError when it cannot hold them."""
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
        if not dist.is_initialized():  # gloo beside nccl, for what lies on the CPU: checkpoints are saved from there
            dist.init_process_group("gloo" if cpu else "cpu:gloo,cuda:nccl", timeout=timedelta(seconds=self.timeout))
        if self.processes and dist.get_world_size() != self.processes * self.nodes:
            raise A2AError(f"`backend.processes` = {self.processes}, but {dist.get_world_size()} ranks were started")

    def arguments(self) -> Mapping[str, Any]:
        """See BackendConfig.arguments."""
        cpu = on_cpu(self.device)
        return {"use_cpu": cpu, "ddp_backend": "gloo" if cpu else "nccl", "ddp_timeout": max(1, int(self.timeout))}

    def wanted(self) -> Mapping[str, Any]:
        """What `verify` compares with what runs; subclasses add how the model is held."""
        import torch.distributed as dist

        return {"world_size": dist.get_world_size(), "device": "cpu" if on_cpu(self.device) else "cuda"}

    def verify(self, state: Mapping[str, Any]) -> None:
        """See BackendConfig.verify."""
        compare(state, self.wanted())

    def teardown(self) -> None:
        """See BackendConfig.teardown."""
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
