"""The batch file, run by bash with stand-ins for SLURM's commands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from a2a_core import A2AError
from a2a_core.launchers import Launch
from a2a_launch.slurm import SlurmLauncher, limit

SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys
command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
tasks = int(next(each for each in sys.argv if each.startswith("--ntasks=")).partition("=")[2])
running = [subprocess.Popen(command, env={{**os.environ, "SLURM_PROCID": str(task)}}) for task in range(tasks)]
signal.signal(signal.SIGUSR1, lambda *_: [task.send_signal(signal.SIGUSR1) for task in running])
sys.exit(max(task.wait() for task in running))
"""
SCONTROL = """#!/bin/sh
here=$(dirname "$0")
if [ "$1" = show ]; then printf 'node-a\\nnode-b\\n'; else echo "$@" >> "$here/requeued"; fi
"""


@pytest.fixture
def cluster(tmp_path: Path) -> dict[str, str]:
    """What a job of two nodes sees."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    place = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    return {**os.environ, **place, "SLURM_JOB_ID": "123456", "SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_JOB_NUM_NODES": "2"}


def asked(text: str) -> list[str]:
    """What the batch file asks of SLURM."""
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_what_is_asked_of_slurm(launch: Callable[..., Launch]) -> None:
    launcher = SlurmLauncher(hours=36.5, partition="gpu", account="me", cpus=8, memory="200G", options=("--constraint=a100",))
    written = launcher.build(launch("it's a job"))
    text = written.files["job.sbatch"]
    assert asked(text) == [
        "--job-name=it-s-a-job",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--gpus-per-node=4",
        "--cpus-per-task=8",
        "--mem=200G",
        "--time=1-12:30:00",
        "--partition=gpu",
        "--account=me",
        "--signal=B:USR1@300",
        "--requeue",
        "--open-mode=append",
        "--constraint=a100",
    ]
    assert text.index("#SBATCH --constraint") < text.index("set -u")  # sbatch reads no further than the first command
    assert "srun" in text
    assert "--cpus-per-task=8 --kill" in text  # srun's own
    assert "it'\"'\"'s a job" in written.start


@pytest.mark.parametrize(
    ("backend", "options", "gpus"),
    [
        ({"device": "cpu"}, {}, None),
        ({"processes": 0}, {"gpus": 8}, "8"),
        ({"processes": 2}, {"gpus": 0}, None),
        ({"processes": 2}, {}, "2"),
    ],
)
def test_gpus_are_as_many_as_ranks_unless_told(
    backend: Any, options: Any, gpus: str | None, launch: Callable[..., Launch]
) -> None:
    text = SlurmLauncher(**options).build(launch(**backend)).files["job.sbatch"]
    found = [each.partition("=")[2] for each in asked(text) if each.startswith("--gpus-per-node")]
    assert found == ([gpus] if gpus else [])


def test_gpus_that_nobody_can_count_are_asked_for(launch: Callable[..., Launch]) -> None:
    with pytest.raises(A2AError, match=r"--with gpus=8"):
        SlurmLauncher().build(launch(processes=0))


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"partition": "gpu --exclusive"}, "one word"),
        ({"options": ("qos=high",)}, "sbatch's own"),
        ({"options": ("--qos=high\nrm -r x",)}, "sbatch's own"),
        ({"hours": 0.05}, "less than the time limit"),
    ],
)
def test_options_that_slurm_would_misread_are_refused(options: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        SlurmLauncher(**options)


def test_hours_as_slurm_writes_them() -> None:
    assert [limit(hours) for hours in (0.5, 24, 100.25)] == ["0-00:30:00", "1-00:00:00", "4-04:15:00"]


def test_a_job_saves_before_its_time_is_up_queues_again_and_ends(
    launch: Callable[..., Launch], a2a: Any, put: Any, cluster: dict[str, str], tmp_path: Path
) -> None:
    task = launch("two words")
    script = put(SlurmLauncher(python=str(a2a.path)).build(task), task.folder)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    a2a.ends("wait")
    job = subprocess.Popen(["bash", script], env=cluster)
    until = time.monotonic() + 30
    while len(a2a.told) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(30) == 0
    requeued = tmp_path / "slurm" / "requeued"
    assert requeued.read_text() == "requeue 123456\n"
    meet = ["--set", "backend.nodes=2", "--set", f"backend.rendezvous=node-a:{10000 + 123456 % 20000}"]
    new = ["-m", "a2a_cli", "train", str(task.folder / "recipe.toml"), "--out", str(task.run), *meet]
    assert a2a.arguments == [new, new]  # one on each node
    a2a.ends(3)
    assert subprocess.run(["bash", script], env=cluster, check=False).returncode == 3
    assert a2a.arguments[2] == ["-m", "a2a_cli", "train", str(task.folder / "recipe.toml"), "--resume", str(task.run), *meet]
    a2a.ends(0)
    assert subprocess.run(["bash", script], env=cluster, check=False).returncode == 0
    assert requeued.read_text() == "requeue 123456\n"  # neither a failure nor the end queues it again
    assert len(a2a.told) == 6
    assert subprocess.run(["bash", script], env=cluster, check=False).returncode == 0
    assert len(a2a.told) == 6


def test_a_job_that_shall_not_queue_again(launch: Callable[..., Launch]) -> None:
    text = SlurmLauncher(requeue=False).build(launch(nodes=1)).files["job.sbatch"]
    assert "--no-requeue" in asked(text)
    assert "scontrol requeue" not in text
    assert text.count("backend.rendezvous= ") == 1  # one node has nobody to meet
