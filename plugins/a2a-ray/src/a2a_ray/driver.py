"""What runs beside Ray Train's workers: starts them, waits, and says how it ended."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from a2a_core import heartbeat
from a2a_core.errors import A2AError, RunFailed

if TYPE_CHECKING:
    from a2a_core import BackendConfig
    from a2a_core.recipe import Loaded
    from a2a_core.resuming import Change
    from a2a_core.runs import Run


class Shape(NamedTuple):
    """Ranks, as Ray is asked for them."""

    nodes: int
    processes: int
    device: str

    @property
    def workers(self) -> int:
        """Ranks in all."""
        return self.nodes * self.processes


def shape(backend: BackendConfig) -> Shape:
    """What a backend asks for; A2AError for one that Ray Train cannot start."""
    if not hasattr(backend, "rendezvous"):
        raise A2AError(f"backend `{backend.name}` has one rank, and Ray Train starts several", hint='set `backend.use = "ddp"`')
    found = Shape(backend.nodes, getattr(backend, "processes", 0), getattr(backend, "device", "auto"))
    if not found.processes:
        raise A2AError("Ray Train wants to know how many ranks a machine has", hint="set `backend.processes`")
    return found


def main(recipe: Path, run: Path, cpus: float = 1.0) -> None:
    """Train a complete recipe into the folder of a run; mistakes end the process with a message and a2a's exit code."""
    try:
        train(recipe, run, cpus)
    except A2AError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def train(recipe: Path, folder: Path, cpus: float) -> None:
    """A new run, or one that has a checkpoint, from there; A2AError."""
    required()
    from a2a_core import runs, training
    from a2a_core.recipe import load_recipe
    from a2a_core.resuming import adopt

    run = runs.Run(folder)
    if run.status == "done":
        print(f"{folder} is finished")
        return
    loaded = load_recipe(recipe, None, environ={}, for_run=True)
    asked, new = shape(loaded.recipe.backend), run.newest_checkpoint() is None
    if new:
        run = runs.create(folder)
        training.start(run, loaded, recipe)
    changed = [] if new else allowed(run, loaded)
    run.begin()
    if changed:
        adopt(run, loaded, changed, {})
    training.recorded(run, lambda: fit(run, loaded.recipe.backend, asked, cpus), new=new)


def allowed(run: Run, loaded: Loaded) -> list[Change]:
    """What the job's recipe changes about the run that it goes on with: its backend; A2AError for anything else."""
    from a2a_core.recipe import load_recipe
    from a2a_core.resuming import changes

    found = changes(load_recipe(run.recipe, None, environ={}), loaded)
    others = [change.name for change in found if change.verdict != "free"]
    if others:
        hint = f"launch {run.recipe}, or begin a new run under another name"
        raise A2AError(f"the run {run.folder} was begun with another recipe: {', '.join(others)}", hint=hint)
    return found


def required() -> None:
    """A2AError where Ray Train is not installed."""
    try:
        import ray.train  # noqa: F401
    except ImportError as error:
        raise A2AError(f"Ray Train is not installed ({error})", hint='pip install "a2a-ray[ray]"') from None


def fit(run: Run, backend: Any, asked: Shape, cpus: float) -> None:
    """Let Ray Train have the ranks; what went wrong with one of them is raised here."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from a2a_ray.worker import work

    reports = run.folder / "ranks"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    if not ray.is_initialized():
        ray.init()
    gpu = asked.device == "cuda" or (asked.device == "auto" and ray.cluster_resources().get("GPU", 0) > 0)
    trainer = TorchTrainer(
        work,
        train_loop_config={"run": str(run.folder.resolve())},
        torch_config=TorchConfig("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout_s=max(1, int(backend.timeout))),
        scaling_config=ScalingConfig(
            num_workers=asked.workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": cpus, **({"GPU": 1} if gpu else {})},
            placement_strategy="STRICT_PACK" if asked.nodes == 1 else "PACK",
        ),
        run_config=RunConfig(
            name="ray",
            storage_path=str((run.folder / "logs").resolve()),
            failure_config=FailureConfig(max_failures=backend.max_restarts),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        judge(run.folder, asked.workers)
        first = next(iter(str(error).strip().splitlines()), "a worker died")
        raise RunFailed(f"Ray Train gave up: {first}", hint=f"its logs: {run.folder / 'logs'}") from error
    judge(run.folder, asked.workers)


def judge(folder: Path, ranks: int) -> None:
    """Raise what a rank said of its end: one that knows what went wrong, before one that missed it."""
    wrong = [found for rank in range(ranks) if (found := heartbeat.report(folder, rank)).get("problems")]
    for found in sorted(wrong, key=lambda each: bool(each.get("lost"))):
        raise heartbeat.error_of(found)
