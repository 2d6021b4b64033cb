"""Ranks in processes of their own: two machines (agents on loopback), a rank that is killed, one that stands still."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from a2a_core import heartbeat
from a2a_core.model import A2AModel
from a2a_core.runs import Run

SET = {
    "trainer.optimizer": "sgd",
    "trainer.max_grad_norm": 0.0,
    "trainer.learning_rate": 0.001,
    "trainer.evaluate": "no",
    "trainer.save": "steps",
    "trainer.save_every": 2,
}
DDP = {"backend.use": "ddp", "backend.device": "cpu"}
PATIENCE = 240.0


def words(**values: Any) -> list[str]:
    """`--set` for each."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


class Started(list[subprocess.Popen[str]]):
    """Processes of a test; `ended` waits for all of them and gives what they said."""

    def __call__(self, folder: Path, command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
        pipe, whole = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        process = subprocess.Popen(command, cwd=folder, env=whole, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        self.append(process)
        return process

    def ended(self, code: int = 0) -> list[tuple[str, str]]:
        found = [process.communicate(timeout=PATIENCE) for process in self]
        assert [process.returncode for process in self] == [code] * len(self), found
        return found


@pytest.fixture
def started() -> Iterator[Started]:
    processes = Started()
    yield processes
    for process in processes:  # those that are left when a test fails
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def until(true: Callable[[], Any]) -> None:
    """Wait for something, but not for ever."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port: int = taken.getsockname()[1]
        return port


def pid(run: Run, rank: int) -> int:
    found: int = heartbeat.read(run.folder, rank)["pid"]
    return found


def same(place: Any, one: str, two: str) -> None:
    weights = [A2AModel.from_pretrained(place.folder / name / "model").state_dict() for name in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_two_machines_outlive_a_killed_rank(place: Any, started: Started, free_port: int) -> None:
    """They meet, agree on one new run, start again where the last checkpoint is, and end as one process does."""
    long = {**SET, "trainer.epochs": 10}
    asked = {"nodes": 2, "processes": 1, "max_restarts": 1, "rendezvous": f"localhost:{free_port}", "timeout": 120}
    both = words(**long, **DDP, **{f"backend.{key}": value for key, value in asked.items()})
    for _ in range(2):
        started(place.folder, [sys.executable, "-m", "a2a_cli", "train", "recipe.toml", "--runs", "runs", *both])
    runs = place.folder / "runs"
    until(lambda: list(runs.glob("*/checkpoints/checkpoint-4")))
    (folder,) = runs.iterdir()
    run = Run(folder)
    os.kill(pid(run, 1), signal.SIGKILL)
    said = started.ended()
    assert sum("accuracy" in out for out, _ in said) == 1  # one shows the results
    (shown,) = [out + err for out, err in said if "accuracy" in out]
    assert "ranks are started again: ranks could not meet: rank 1 did not come: last seen on" in shown
    assert any("they meet at localhost" in err for _, err in said)
    assert (run.status, run.state["restarts"], run.state["steps"]) == ("done", 1, 30)
    steps = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    trained = [record["step"] for record in steps if record["split"] == "train"]
    assert trained == list(range(1, 31))
    place.run("train", "recipe.toml", "--out", "one", *words(**long))
    same(place, "one", str(folder))


def test_a_rank_that_stands_still_is_named_with_its_rows(place: Any, started: Started) -> None:
    asked = {"backend.processes": 2, "backend.timeout": 5, "trainer.epochs": 200}
    out = ["--out", "still", *words(**SET, **DDP, **asked)]
    started(place.folder, [sys.executable, "-m", "a2a_cli", "train", "recipe.toml", *out])
    run = Run(place.folder / "still")
    until(lambda: (run.checkpoints / "checkpoint-2").is_dir())
    stopped = pid(run, 1)
    os.kill(stopped, signal.SIGSTOP)
    until(lambda: heartbeat.report(run.folder, 0))
    os.kill(stopped, signal.SIGCONT)
    ((_, said),) = started.ended(code=1)
    at = heartbeat.report(run.folder, 0)["problems"][0]["message"]
    assert "ranks could not meet: rank 1 did not come: last seen on" in at
    assert "in step" in at
    assert "with rows train-" in at
    assert at in said
    assert "a2a train --resume" in said
    assert run.status == "failed"


def test_torchrun_starts_the_same_run_again(place: Any, started: Started) -> None:
    given = words(**SET, **DDP, **{"backend.processes": 2, "trainer.epochs": 10})
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    started(place.folder, [*torchrun, "-m", "a2a_cli", "train", "recipe.toml", "--runs", "runs", *given])
    runs = place.folder / "runs"
    until(lambda: list(runs.glob("*/checkpoints/checkpoint-4")))
    (folder,) = runs.iterdir()
    os.kill(pid(Run(folder), 1), signal.SIGKILL)
    ((said, _),) = started.ended()
    assert list(runs.iterdir()) == [folder]
    assert Run(folder).status == "done"
    assert "accuracy" in said


def test_tasks_of_slurm_and_ranks_of_deepspeed_join(place: Any, started: Started, free_port: int) -> None:
    """Said to each process is what both launchers say. On two machines they are not what the recipe asks for."""
    given = words(**DDP, **{"backend.processes": 2, "trainer.max_steps": 1, "trainer.evaluate": "no"})
    command = [sys.executable, "-m", "a2a_cli", "--local_rank=0", "train", "recipe.toml", "--runs", "runs", *given]
    slurm = {"SLURM_JOB_ID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NODELIST": "localhost"}
    slurm["MASTER_PORT"] = str(free_port)
    for task in ("0", "1"):
        started(place.folder, command, SLURM_PROCID=task, SLURM_LOCALID=task, SLURM_NODEID="0", **slurm)
    started.ended()
    (folder,) = (place.folder / "runs").iterdir()
    assert Run(folder).status == "done"
    assert heartbeat.read(folder, 1)["step"] == 1
    started.clear()
    for task in ("0", "1"):
        started(place.folder, command, SLURM_PROCID=task, SLURM_LOCALID="0", SLURM_NODEID=task, **slurm)
    for _, said in started.ended(code=2):
        assert "`backend.nodes` = 1, but ranks were started on 2 machine(s)" in said
    assert list((place.folder / "runs").iterdir()) == [folder]
