"""Ranks that somebody else started: torchrun, `accelerate launch`, `deepspeed`, SLURM's srun."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

FIRST_PORT, PORTS = 20000, 20000


def joined(environment: MutableMapping[str, str], processes: int) -> bool:
    """Whether this process is one of several ranks; what srun says of it is put into the words of torch."""
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return True
    if not a_rank_of_slurm(environment, processes):
        return False
    environment["RANK"] = environment["SLURM_PROCID"]
    environment["WORLD_SIZE"] = environment["SLURM_STEP_NUM_TASKS"]
    environment["LOCAL_RANK"] = environment["SLURM_LOCALID"]
    host, _, port = slurm_place(environment).rpartition(":")
    environment.setdefault("MASTER_ADDR", host)
    environment.setdefault("MASTER_PORT", port)
    return True


def a_rank_of_slurm(environment: MutableMapping[str, str], processes: int) -> bool:
    """Whether srun started a task for each rank, and not one for each machine; a batch script itself is no step."""
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", "1"))
    machines = int(environment.get("SLURM_STEP_NUM_NODES", "1"))
    return "SLURM_PROCID" in environment and tasks > 1 and (tasks > machines or processes == 1)


def slurm_place(environment: MutableMapping[str, str]) -> str:
    """host:port that every task of a SLURM step finds alike; empty without SLURM."""
    nodes, job = environment.get("SLURM_STEP_NODELIST"), environment.get("SLURM_JOB_ID", "0")
    if not nodes:
        return ""
    return f"{first_host(nodes)}:{FIRST_PORT + int(job) % PORTS}"


def first_host(nodes: str) -> str:
    """Of a list as SLURM writes it: `gpu[03-05,9],login` is gpu03 and so on."""
    found = re.match(r"([^,\[]+)(?:\[(\d+)[^\]]*\]([^,]*))?", nodes)
    assert found is not None, nodes
    return "".join(part or "" for part in found.groups())


def forget_launcher(environment: MutableMapping[str, str]) -> None:
    """`accelerate launch` writes a configuration of its own into the environment; the recipe decides."""
    for name in [name for name in environment if name.startswith("ACCELERATE_")]:
        del environment[name]
