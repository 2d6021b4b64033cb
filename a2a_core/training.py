"""A run from its recipe to its result: the folder, the ranks, and what is written whatever happens."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from a2a_core import heartbeat
from a2a_core.errors import A2AError, RunFailed
from a2a_core.mistakes import placed
from a2a_core.recipe import fill
from a2a_core.runs import Run, held, now, release, step_of, write

if TYPE_CHECKING:
    from a2a_core.job import Result
    from a2a_core.recipe import Loaded
    from a2a_core.reporter import Reporter

T = TypeVar("T")
NODE = "A2A_NODE"
"""The environment's word for which of several machines this is, that start the ranks of one run: 0 keeps its record."""
PACKAGES = ("torch", "transformers", "accelerate", "datasets", "numpy", "safetensors", "tokenizers", "deepspeed", "peft")


def main_rank() -> bool:
    """Whether this process writes and shows; alone, it does."""
    return os.environ.get("RANK", os.environ.get(NODE, "0")) == "0"


def started_again() -> bool:
    """A launcher started these ranks before, and one of them died."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def start(run: Run, loaded: Loaded, recipe: Path) -> None:
    """What is known before anything heavy: the filled recipe, the environment, the state."""
    write(run.recipe, fill(loaded))
    write(run.folder / "environment.json", json.dumps(environment(loaded), indent=1) + "\n")
    run.update(started=now(), recipe=str(recipe.resolve()))


def environment(loaded: Loaded) -> dict[str, Any]:
    """Versions, seed and overrides: what a reader needs to run it again."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "a2a": version("a2a-trainer"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "plugins": loaded.catalog.versions(),
        "packages": packages,
        "seed": loaded.recipe.seed,
        "overrides": [str(override) for override in loaded.overrides],
        "command": sys.argv,
    }


def train(loaded: Loaded, run: Run, reporter: Reporter, command: Sequence[str], resume: bool = False) -> Result | None:
    """Train here, or start ranks that run `command` and wait for them; None then, the result is in `run.state`."""
    backend = loaded.recipe.backend
    if main_rank():
        run.begin()
        if not held(run.folder):
            reporter.note(f"the file system of {run.folder} has no locks: nobody else is kept from working on this run")
    if backend.joined():
        resume = resume or started_again()
        return recorded(run, lambda: work(loaded, run, reporter, resume), new=not resume)
    with placed(loaded.tree):  # ranks read the run's recipe, and the user wrote this one
        recorded(run, lambda: backend.launch(command, run.folder), new=not resume)
    return None


def recorded(run: Run, action: Callable[[], T], new: bool) -> T:
    """Do it, and write down how it ended. A new run that was refused before it did anything leaves no folder."""
    try:
        return action()
    except KeyboardInterrupt:
        if main_rank():
            run.update(status="interrupted", finished=now())
        raise
    except A2AError as error:
        if main_rank():
            run.update(status="failed", finished=now(), error=str(error))
            if new and error.exit_code == A2AError.exit_code and not run.worked:
                shutil.rmtree(run.folder, ignore_errors=True)
        raise
    except BaseException as error:
        if main_rank():
            run.update(status="failed", finished=now(), error=f"{type(error).__name__}: {error}")
        raise
    finally:
        release(run.folder)


def work(loaded: Loaded, run: Run, reporter: Reporter, resume: bool) -> Result:
    """One rank's part: from the newest whole checkpoint, if there is one and `resume`, to the result."""
    from a2a_core.job import assemble
    from a2a_core.resuming import refuse_other_rows

    backend = loaded.recipe.backend
    with heartbeat.watched(run.folder):
        try:
            backend.setup()
            for note in backend.notes() if main_rank() else ():
                reporter.note(note)
            checkpoint = begun(loaded, run, reporter, resume)
            job = assemble(loaded, run, reporter, checkpoint)
            refuse_other_rows(job, main_rank())
            result = within_memory(loaded.recipe.trainer.build(job).fit, run)
        finally:
            reporter.close()
            backend.teardown()
    if main_rank():
        run.update(
            status=result.status, finished=now(), steps=result.steps, results=result.results, seconds=result.seconds, error=None
        )
    return result


def begun(loaded: Loaded, run: Run, reporter: Reporter, resume: bool) -> Path | None:
    """The checkpoint to go on from, where the first rank is to `resume`; what was recorded after it is forgotten."""
    from a2a_core.resuming import checkpoint

    def choose() -> str:
        if not resume:
            return ""
        found = checkpoint(run, reporter)
        run.rewind(step_of(found) if found else 0)
        return str(found or "")

    chosen = loaded.recipe.backend.agree("checkpoint", choose)
    return Path(chosen) if chosen else None


def within_memory(fit: Callable[[], Result], run: Run) -> Result:
    """Run out of memory with a message; where the system is short of it, it kills what prepares rows first."""
    import torch

    try:
        return fit()
    except (torch.OutOfMemoryError, MemoryError) as error:
        first = str(error).splitlines()[0] if str(error) else "out of memory"
        raise RunFailed(first, hint="lower `trainer.micro_batch`, or set `trainer.gradient_checkpointing = true`") from error
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):  # torch has no class of its own for it
            raise
        hint = f"is the machine short of memory? Lower `trainer.workers`; go on with `a2a train --resume {run.folder}`"
        raise RunFailed(f"a process that prepares rows is gone: {str(error).splitlines()[0].strip()}", hint=hint) from error
