"""Which ranks are there, against what the recipe asks for; every rank compares, so that all of them end alike."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from a2a_core import A2AError

if TYPE_CHECKING:
    from a2a_accelerate.ranks import RanksBackend

MACHINE = ("GROUP_RANK", "SLURM_NODEID", "CROSS_RANK")
"""The number of a rank's machine, as torchrun, srun and deepspeed call it."""


def this_rank(cpu: bool) -> dict[str, Any]:
    """What the others should know of this one."""
    import torch

    local, gpus = int(os.environ["LOCAL_RANK"]), 0 if cpu else torch.cuda.device_count()
    return {
        "machine": [socket.gethostname(), next((os.environ[name] for name in MACHINE if name in os.environ), "")],
        "device": "cpu" if cpu else "cuda",
        "gpu": "" if cpu else str(torch.cuda.get_device_properties(local % gpus).uuid),
        "versions": [version("a2a-trainer"), torch.__version__],
    }


def refuse_others(backend: RanksBackend, found: Sequence[Mapping[str, Any]]) -> None:
    """A2AError when these ranks are not what the recipe asks for."""
    each = Counter(f"{host} {number}".strip() for host, number in (rank["machine"] for rank in found))
    several = ", ".join(f"{count} on {machine}" for machine, count in each.items())
    if len(each) != backend.nodes:
        text = f"`backend.nodes` = {backend.nodes}, but ranks were started on {len(each)} machine(s): {several}"
        raise A2AError(text, hint=f"set `backend.nodes = {len(each)}`, or start them as the recipe says")
    if backend.processes and set(each.values()) != {backend.processes}:
        text = f"`backend.processes` = {backend.processes} on each machine, but {len(found)} ranks were started: {several}"
        raise A2AError(text, hint="start them as the recipe says, or say `processes` as they are started")
    for what, hint in (("device", "set `backend.device`"), ("versions", "install the same a2a and torch everywhere")):
        kinds = {str(rank[what]): number for number, rank in reversed(list(enumerate(found)))}
        if len(kinds) > 1:
            named = ", ".join(f"rank {number} has {kind}" for kind, number in reversed(kinds.items()))
            raise A2AError(f"ranks differ in `{what}`: {named}", hint=hint)
    gpus: dict[str, int] = {}
    for number, rank in enumerate(found):
        if rank["gpu"] and rank["gpu"] in gpus:
            text = f"ranks {gpus[rank['gpu']]} and {number} were started on one GPU of {rank['machine'][0]}"
            raise A2AError(text, hint="start one rank for each GPU")
        gpus[rank["gpu"]] = number
