"""What all backends with several ranks share: starting or joining them, and seeing that what runs is what was asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from a2a_accelerate.single import compare, on_cpu, prepare
from a2a_core import A2AError, BackendConfig, Problem, option

if TYPE_CHECKING:
    from a2a_accelerate.stores import Machines
    from a2a_core.recipe import Recipe

T = TypeVar("T")
MOST = 16
"""Ranks on one core of a CPU; more are a slip of the pen."""


def cores() -> int:
    """Of this machine, as far as this process may use them."""
    return len(os.sched_getaffinity(0))


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

    def check(self) -> None:
        """See Options.check."""
        host, _, port = self.rendezvous.rpartition(":")
        if self.rendezvous and not (host and port.isdecimal() and 0 < int(port) < 2**16):
            raise ValueError(f"`rendezvous` is host:port, such as node1:29500, got {self.rendezvous!r}")
        if self.rendezvous and self.nodes == 1:
            raise ValueError("`rendezvous` is where several machines meet, and `nodes` = 1")

    def misfits(self, recipe: Recipe) -> Iterator[tuple[str, Problem]]:
        """See BackendConfig.misfits."""
        rows, ranks = recipe.trainer.plan().batch_size, self.processes * self.nodes
        if ranks and rows % ranks:
            told = f"`trainer.batch_size` = {rows} does not divide by {ranks} ranks"
            by = f"`backend.processes` = {self.processes}" + (f" on {self.nodes} machines" if self.nodes > 1 else "")
            near = max(1, round(rows / ranks)) * ranks
            yield "processes", Problem(told, hint=f"{by}: each takes the same number of rows; {near} would do")

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
        if not gpus and ranks > MOST * cores():
            text = f"`backend.processes` = {ranks}, and this machine has {cores()} core(s) for them"
            raise A2AError(text, hint=f"no more than {MOST} ranks are started on a core")
        return ranks

    def notes(self) -> Iterator[str]:
        """See BackendConfig.notes."""
        wanted = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) * self.threads
        if on_cpu(self.device) and wanted > cores():
            yield f"{wanted} threads of this machine's ranks share {cores()} core(s): fewer `backend.processes` are faster"

    def joined(self) -> bool:
        """Under another launcher, or started by `launch`."""
        from a2a_accelerate.joining import joined

        return joined(os.environ, self.processes)

    def place(self) -> str:
        """Where machines meet; A2AError when nobody said."""
        from a2a_accelerate.joining import slurm_place

        where = self.rendezvous or slurm_place(os.environ)
        if not where:
            text = f"`backend.nodes` = {self.nodes}, but nobody says where they meet"
            raise A2AError(text, hint='set `backend.rendezvous = "host:port"`, host being one of them')
        return where

    def machines(self) -> Machines | None:
        """All machines that start ranks of this run, once they have come; None for one alone."""
        from a2a_accelerate.stores import machines_at
        from a2a_core.training import NODE

        if self.nodes == 1:
            return None
        found = machines_at(self.place(), self.nodes, self.timeout)
        os.environ[NODE] = str(found.mine)
        return found

    def agree(self, what: str, choose: Callable[[], T], about: str = "") -> T:
        """See BackendConfig.agree."""
        from a2a_accelerate.stores import of_ranks

        meeting = of_ranks(self.timeout) if self.joined() else self.machines()
        return choose() if meeting is None else meeting.agree(what, choose, about)

    def launch(self, command: Sequence[str], folder: Path) -> None:
        """See BackendConfig.launch."""
        from a2a_accelerate.launch import launch

        prepare(self.device, self.threads)
        launch(self, command, folder)

    def setup(self) -> None:
        """See BackendConfig.setup."""
        import torch
        import torch.distributed as dist
        from torch.distributed import PrefixStore

        from a2a_accelerate.joining import forget_launcher
        from a2a_accelerate.presence import refuse_others, this_rank
        from a2a_accelerate.stores import of_ranks

        forget_launcher(os.environ)
        prepare(self.device, self.threads)
        cpu = on_cpu(self.device)
        meeting = of_ranks(self.timeout)
        name = meeting.once("ranks")
        refuse_others(self, [json.loads(card) for card in meeting.everyone(name, json.dumps(this_rank(cpu)))])
        if not cpu:  # a launcher may show each rank a GPU of its own, and no other
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        if not dist.is_initialized():  # gloo beside nccl, for what lies on the CPU: checkpoints are saved from there
            dist.init_process_group(
                "gloo" if cpu else "cpu:gloo,cuda:nccl",
                store=PrefixStore(f"group/{name}", meeting.store),
                rank=meeting.mine,
                world_size=meeting.several,
                timeout=timedelta(seconds=self.timeout),
            )

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
