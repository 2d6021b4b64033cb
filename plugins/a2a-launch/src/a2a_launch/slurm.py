"""The launcher `slurm`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from shlex import quote

from a2a_core import option
from a2a_core.launchers import RECIPE, Launch, LauncherConfig, Written
from a2a_launch.shell import arguments, attended, exported, lines, plain, spread, train

SCRIPT = "job.sbatch"
WORD = re.compile(r"[^\s#'\"\\]+")
PORTS = "$((10000 + SLURM_JOB_ID % 20000))"
"""A port of each job's own, as two may share a node, below those that systems hand out."""


class SlurmLauncher(LauncherConfig):
    """A batch file for SLURM: one `a2a train` on each node, which starts that node's ranks.

    `grace` seconds before the time limit a2a is told (SIGUSR1), saves and ends; the job queues again and goes on from there.
    Submitted again after a failure it does the same.
    """

    name = "slurm"
    hours: float | None = option("time limit [default: the partition's]", default=None, gt=0)
    partition: str = option("the partition", default="")
    account: str = option("the account that pays", default="")
    gpus: int | None = option("GPUs on each node [default: `backend.processes`, none for the CPU]", default=None, ge=0)
    cpus: int | None = option("CPUs on each node [default: the cluster's]", default=None, gt=0)
    memory: str = option("memory on each node, such as `200G` [default: the cluster's]", default="")
    options: tuple[str, ...] = option("more options of sbatch, such as `--constraint=a100`", default=())
    grace: int = option("seconds before the time limit at which the run is told to save", default=300, gt=0)
    requeue: bool = option("queue again when the run has saved, or a node has failed", default=True)
    python: str = option("the interpreter that has a2a, on all nodes [default: this one]", default="")
    setup: tuple[str, ...] = option("lines of shell that come first, such as `module load cuda`", default=())
    environment: dict[str, str] = option("variables to set", default={})

    def check(self) -> None:
        """See Options."""
        exported(self.environment)
        for name in ("partition", "account", "memory"):
            value = getattr(self, name)
            if value and not WORD.fullmatch(value):
                raise ValueError(f"`{name}` must be one word without quotes, got `{value}`")
        for each in self.options:
            if not each.startswith("-") or "\n" in each:
                raise ValueError(f"`options` are sbatch's own, in one line each, such as `--qos=high`, not `{each}`")
        if self.hours is not None and self.grace >= self.hours * 3600:
            raise ValueError(f"`grace` must be less than the time limit, got {self.grace} s of {self.hours * 3600:g}")

    def build(self, launch: Launch) -> Written:
        """See LauncherConfig."""
        cpus = f" --cpus-per-task={self.cpus}" if self.cpus else ""  # srun does not take it over from sbatch
        nodes = '"$SLURM_JOB_NUM_NODES"'
        step = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1{cpus} --kill-on-bad-exit=1"
        several = spread(launch, nodes, '"$first:$port"')
        command = f"{step} {train(self.python or sys.executable)}{several}"
        again = """\
if [ -n "$warned" ] && [ "$code" -eq 0 ] && status "preempted"; then
  scontrol requeue "$SLURM_JOB_ID"
fi
"""
        text = f"""\
#!/bin/bash
# Trains {plain(launch.name)}: `sbatch {SCRIPT}`; written by `a2a launch`.
{lines(f"#SBATCH {each}" for each in self.asked(launch))}
{lines(self.setup)}{exported(self.environment)}set -u

{arguments(launch.run, str(launch.folder / RECIPE))}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port={PORTS}

{attended(command, "USR1")}
{again if self.requeue else ""}exit "$code"
"""
        return Written({RECIPE: launch.recipe, SCRIPT: text}, f"sbatch {quote(str(launch.folder / SCRIPT))}")

    def asked(self, launch: Launch) -> Iterator[str]:
        """What is asked of SLURM."""
        yield f"--job-name={plain(launch.name)}"
        yield f"--nodes={launch.nodes}"
        yield "--ntasks-per-node=1"
        gpus = launch.gpus(self.gpus)
        values = {
            "gpus-per-node": gpus,
            "cpus-per-task": self.cpus,
            "mem": self.memory,
            "time": limit(self.hours) if self.hours else "",
            "partition": self.partition,
            "account": self.account,
        }
        yield from (f"--{name}={value}" for name, value in values.items() if value)
        yield f"--signal=B:USR1@{self.grace}"  # to the batch shell, which hands it on and queues again
        yield "--requeue" if self.requeue else "--no-requeue"
        yield "--open-mode=append"
        yield from self.options


def limit(hours: float) -> str:
    """Hours as SLURM writes them: `days-hours:minutes:seconds`."""
    seconds = max(1, round(hours * 3600))
    return f"{seconds // 86400}-{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
