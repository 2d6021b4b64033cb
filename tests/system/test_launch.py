"""What `a2a launch` writes, run: two machines that are this one, SLURM's time running out, Ray's workers."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from typing import Any

import pytest

from a2a_core import A2AError
from a2a_core.recipe import load_recipe
from a2a_core.runs import Run, create
from a2a_core.training import start

SRUN = f"""#!{sys.executable}
import signal, subprocess, sys
command = sys.argv[1:]
while command[0].startswith("--"):
    command.pop(0)
task = subprocess.Popen(command)
signal.signal(signal.SIGUSR1, lambda *_: task.send_signal(signal.SIGUSR1))
sys.exit(task.wait())
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/scontrol.log"
if [ "$1" = show ]; then echo localhost; fi
"""
RAY = """
import runpy, sys
import ray
ray.init(num_cpus=2, include_dashboard=False)
for entry in sys.argv[1:]:
    try:
        runpy.run_path(entry, run_name="__main__")
    except SystemExit as ended:
        print(f"exit code {ended.code}", file=sys.stderr)
"""
PLAIN = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def free_port() -> int:
    """One that nobody listens on now."""
    import socket

    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        return int(taken.getsockname()[1])


def losses(place: Any, run: str) -> list[float]:
    """Of every step."""
    return [record["loss"] for record in place.history(run)]


def test_two_machines_train_as_one_does(place: Any) -> None:
    place.run("train", "recipe.toml", "--out", "runs/alone")
    meet = f"rendezvous=localhost:{free_port()}"
    several = ["--set", "backend.use=ddp", "--set", "backend.processes=1", "--set", "backend.nodes=2"]
    place.run("launch", "recipe.toml", "--to", "script", *several, "--with", meet, "-o", "launch/it's two")
    script = place.folder / "launch" / "it's two" / "job.sh"
    with (place.folder / "log").open("wb") as log:
        machines = [subprocess.Popen(["sh", script], env=os.environ | PLAIN, stdout=log, stderr=log) for _ in range(2)]
    try:
        assert [machine.wait(300) for machine in machines] == [0, 0], (place.folder / "log").read_text()
    finally:
        for machine in machines:
            machine.kill()
    assert Run(place.folder / "runs" / "it's two").status == "done"
    assert losses(place, "runs/it's two") == pytest.approx(losses(place, "runs/alone"), abs=1e-5)


def test_a_job_of_slurm_whose_time_is_up_ends_as_one_that_had_more(place: Any) -> None:
    long = ["--set", "trainer.epochs=25", "--set", "trainer.evaluate=no", "--set", "trainer.save=no"]
    place.run("train", "recipe.toml", "--out", "runs/whole", *long)
    place.run("launch", "recipe.toml", "--to", "slurm", "--with", "hours=1", *long, "-o", "launch/job")
    script, run = place.folder / "launch" / "job" / "job.sbatch", Run(place.folder / "runs" / "job")
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (place.folder / name).write_text(text)
        (place.folder / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "localhost", "SLURM_JOB_NUM_NODES": "1"}
    env = {**os.environ, **PLAIN, **slurm, "PATH": f"{place.folder}{os.pathsep}{os.environ['PATH']}"}
    with (place.folder / "log").open("wb") as log:
        job = subprocess.Popen(["bash", script], env=env, stdout=log, stderr=log)
        until = time.monotonic() + 300
        while not (run.metrics.exists() and run.metrics.read_text().count("\n") > 5) and time.monotonic() < until:
            time.sleep(0.02)
        job.send_signal(signal.SIGUSR1)
        assert job.wait(300) == 0, (place.folder / "log").read_text()
        assert run.status == "preempted"
        assert (place.folder / "scontrol.log").read_text().splitlines()[-1] == "requeue 7"
        assert subprocess.run(["bash", script], env=env, stdout=log, stderr=log, check=False, timeout=300).returncode == 0
    assert run.status == "done"
    weights = [place.folder / "runs" / name / "model" / "model.safetensors" for name in ("job", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    again = subprocess.run(["bash", script], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (again.returncode, again.stdout) == (0, f"{run.folder} is finished\n")


def test_a_job_of_ray_changes_no_more_than_the_backend_of_its_run(place: Any) -> None:
    from a2a_ray.driver import allowed

    run = create(place.folder / "run")
    start(run, load_recipe(place.recipe, None), place.recipe)
    several = ("backend.use=ddp", "backend.processes=2")
    assert [change.name for change in allowed(run, load_recipe(place.recipe, None, several))] == ["backend"]
    with pytest.raises(A2AError, match=r"begun with another recipe: seed"):
        allowed(run, load_recipe(place.recipe, None, (*several, "seed=3")))


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'a2a-ray[ray]'")
def test_ray_train_trains_as_one_process_does(place: Any) -> None:
    place.run("train", "recipe.toml", "--out", "runs/alone")
    several = ["--set", "backend.use=ddp", "--set", "backend.processes=2"]
    place.run("launch", "recipe.toml", "--to", "ray", *several, "-o", "launch/it's ray")
    apart = ["--set", "backend.processes=1", "--set", "backend.nodes=2"]
    place.run("launch", "recipe.toml", "--to", "ray", *several, *apart, "-o", "launch/apart")
    entries = [str(place.folder / "launch" / name / "train.py") for name in ("apart", "it's ray", "it's ray")]
    env = os.environ | PLAIN | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", RAY, *entries]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=500)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert done.stderr.count("exit code") == done.stderr.count("exit code 2") == 1, said
    assert "`backend.nodes` = 2, but ranks were started on 1 machine" in done.stderr, said
    assert not (place.folder / "runs" / "apart").exists()
    assert Run(place.folder / "runs" / "it's ray").status == "done"
    assert losses(place, "runs/it's ray") == pytest.approx(losses(place, "runs/alone"), abs=1e-5)
    assert done.stdout.count("step 6: loss") == 1, said
    assert f"{place.folder / 'runs'}/it's ray is finished" in done.stdout
