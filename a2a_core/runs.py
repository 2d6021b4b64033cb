"""A run's folder: what was asked, what happened, what came of it. Every file is written whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from a2a_core import manifest
from a2a_core.errors import A2AError, RunFailed, suggest
from a2a_core.features.lock import locked

LOCK = ".lock"
UNFINISHED = frozenset({"killed", "interrupted", "preempted", "failed"})
"""What became of runs that can go on."""


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(path: Path, text: str) -> None:
    """Write a file whole: a reader sees the old one or the new one."""
    with explained(path):
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)  # on a full disk, what is half-written takes space


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """A full disk and a folder that may not be written are messages, not tracebacks."""
    try:
        yield
    except A2AError:
        raise
    except Exception as error:  # torch and safetensors have exceptions of their own for what the disk says
        if full(error, path):
            raise RunFailed(f"no space left on the disk of {path}", hint="free some, then `a2a train --resume`") from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise A2AError(f"{path} cannot be written: {error.strerror}") from error
        raise


def full(error: Exception, path: Path) -> bool:
    """Whether an error that came up while writing says, or means, that there is no space."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    there = next(parent for parent in path.absolute().parents if parent.exists())
    return "No space left" in str(error) or shutil.disk_usage(there).free < SPARE


SPARE = 2**20
"""Bytes: with fewer, a writer that failed without a reason failed for this one."""


@attrs.frozen(slots=False)
class Run:
    """One run's folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.name

    @property
    def recipe(self) -> Path:
        """The filled recipe."""
        return self.folder / "recipe.toml"

    @property
    def model(self) -> Path:
        """The export."""
        return self.folder / "model"

    @property
    def checkpoints(self) -> Path:
        """One folder a checkpoint, `checkpoint-<step>`."""
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The history, a JSON object a line."""
        return self.folder / "metrics.jsonl"

    @property
    def quarantine(self) -> Path:
        """Bad rows, each with its reason."""
        return self.folder / "quarantine.jsonl"

    @property
    def state(self) -> dict[str, Any]:
        """`run.json`; empty when there is none that can be read."""
        try:
            found = json.loads((self.folder / "run.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def status(self) -> str:
        """As recorded; `running` is what somebody works on, and a run that says so while nobody does was killed."""
        status = str(self.state.get("status", "unknown"))
        if status in ("running", "unknown") and held(self.folder):
            return "running"
        begun = status == "running" or (status == "unknown" and self.recipe.is_file() and (self.folder / LOCK).is_file())
        return "killed" if begun else status

    @property
    def order(self) -> int:
        """By which runs are sorted: what was begun later has more, whatever the clock said."""
        state = self.state
        if isinstance(state.get("order"), int):
            return int(state["order"])
        try:
            return int(datetime.fromisoformat(str(state.get("started"))).timestamp() * 1e9)
        except ValueError:
            return self.recipe.stat().st_mtime_ns if self.recipe.is_file() else 0

    @property
    def worked(self) -> bool:
        """It has anything to show: records, rows set aside, checkpoints."""
        return self.metrics.exists() or self.quarantine.exists() or any(self.checkpoints.glob("*"))

    def every_checkpoint(self) -> list[Path]:
        """Whole or not, the newest first."""
        found = [path for path in self.checkpoints.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
        return sorted(found, key=step_of, reverse=True)

    def newest_checkpoint(self) -> Path | None:
        """The last whole one, by the names and sizes of its files; a2a_core.resuming finds one that can be relied on."""
        return next((path for path in self.every_checkpoint() if manifest.verify(path, contents=False) is None), None)

    def update(self, **values: Any) -> None:
        """Change `run.json`."""
        write(self.folder / "run.json", json.dumps({**self.state, **values}, indent=1) + "\n")

    def begin(self) -> None:
        """Say that this process works on the run from now on; A2AError when another one does."""
        hold(self.folder)
        for left in self.folder.glob(".*.partial"):  # of writers that were killed, or this process would not have the folder
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        who = {"pid": os.getpid(), "host": socket.gethostname()}
        order = self.state.get("order") or next_order(self.folder.absolute().parent)
        self.update(status="running", **who, order=order, error=None, finished=None, steps=None, results=None)

    def append(self, path: Path, record: Mapping[str, Any]) -> None:
        """One more line of JSON."""
        with explained(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(record), default=str, ensure_ascii=False) + "\n")

    def rewind(self, step: int) -> None:
        """Forget what was recorded after a step: a resumed run does it again."""
        if not self.metrics.is_file():
            return
        lines = self.metrics.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if (record := parsed(line)) and record.get("step", 0) <= step]
        write(self.metrics, "".join(f"{line}\n" for line in kept))


def step_of(checkpoint: Path) -> int:
    """The optimizer steps that were done when it was written."""
    return int(checkpoint.name.rpartition("-")[2])


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parsed(line: str) -> dict[str, Any]:
    """A line of JSON; empty for one that a killed writer left half-done."""
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


HELD: dict[Path, int] = {}
"""Folders that this process works on, and the lock of each. The system lets go of it however a process ends."""


def hold(folder: Path) -> None:
    """Take a run's folder for this process, if it is not its own already."""
    if folder.resolve() in HELD:
        return
    with explained(folder):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    if locked(lock) is False:
        os.close(lock)
        state = Run(folder).state
        who = f" (process {state['pid']} on {state.get('host')})" if state.get("pid") else ""
        raise A2AError(f"another process works on {folder}{who}", hint="wait for it, or end it first")
    HELD[folder.resolve()] = lock


def release(folder: Path) -> None:
    """Give it back."""
    lock = HELD.pop(folder.resolve(), None)
    if lock is not None:
        os.close(lock)


def disown() -> None:
    """A process that was forked, such as a data loader's worker, works on nothing: it may outlive the one that does."""
    for lock in HELD.values():
        os.close(lock)
    HELD.clear()


os.register_at_fork(after_in_child=disown)


def held(folder: Path) -> bool:
    """Whether some process works on a run, be it this one; nobody can tell on a file system without locks."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False  # nobody has ever held it
    try:
        return locked(lock) is False
    finally:
        os.close(lock)


OURS = re.compile(
    r"recipe(-\d+)?\.toml|(environment|run)\.json|(metrics|quarantine)\.jsonl|lengths-.+\.safetensors|tensorboard|checkpoints"
    r"|ranks|logs|nan|\.lock|\..+\.partial"
)
"""Names of what a run writes before it has trained anything worth keeping."""


def stillborn(run: Run) -> bool:
    """A run that ended before its first checkpoint, in a folder with nothing else in it."""
    return run.status in UNFINISHED and bare(run)


def bare(run: Run) -> bool:
    """Nothing is in its folder but what a run writes before its first checkpoint."""
    return not run.every_checkpoint() and all(OURS.fullmatch(path.name) for path in run.folder.iterdir())


def create(folder: Path) -> Run:
    """A new run's folder, held; A2AError where there is something already, but for a run that never got to a checkpoint."""
    empty = not folder.exists() or (folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOCK})
    if not empty and not (folder.is_dir() and stillborn(Run(folder))):
        raise taken(folder)
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    hold(folder)
    if not bare(Run(folder)):  # somebody was faster, and has let go of it since
        release(folder)
        raise taken(folder)
    for path in folder.iterdir():
        if path.name != LOCK:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return Run(folder)


def taken(folder: Path) -> A2AError:
    """There is something already."""
    hint = "continue it with `--resume`, or choose another with `--out`"
    return A2AError(f"{folder} exists already", hint=hint if folder.is_dir() else "choose another with `--out`")


def new(runs: Path, recipe: Path) -> Run:
    """A new run's folder with a name of its own, held; two processes that begin one at the same moment get two."""
    while True:
        folder = fresh(runs, recipe)
        with explained(folder):
            runs.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
        return create(folder)


def fresh(runs: Path, recipe: Path) -> Path:
    """A folder name that is not taken: the recipe's (its folder's, if it is called `recipe`) and the time."""
    stem = recipe.resolve().parent.name if recipe.stem == "recipe" else recipe.stem
    name = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    taken = 1
    folder = runs / name
    while folder.exists():
        taken += 1
        folder = runs / f"{name}-{taken}"
    return folder


def every(runs: Path) -> list[Run]:
    """The runs in a folder, newest first; one that lost its `run.json` is known by its lock."""
    found = {path.parent for name in ("run.json", LOCK) for path in runs.glob(f"*/{name}")}
    return sorted(map(Run, found), key=lambda run: (run.order, run.name), reverse=True)


def next_order(runs: Path) -> int:
    """What a run that begins now is sorted by: the time in nanoseconds, or more where the clock was ahead before."""
    return max([time.time_ns(), *(run.order + 1 for run in every(runs))])


def find(name: str, runs: Path) -> Run:
    """A run by its path, its name, or the beginning of one run's name alone."""
    if any((Path(name) / each).is_file() for each in ("run.json", LOCK)):
        return Run(Path(name))
    known = {run.name: run for run in every(runs)}
    starting = [run for key, run in known.items() if key.startswith(name)]
    if name in known or len(starting) == 1:
        return known.get(name) or starting[0]
    if starting:
        raise A2AError(f"{len(starting)} runs begin with `{name}`", hint=", ".join(run.name for run in starting))
    raise A2AError(f"there is no run `{name}` in {runs}", hint=suggest(name, known, "a2a runs list"))


def newest_unfinished(runs: Path, recipe: Path | None = None, begun: bool = False) -> Run:
    """What `--resume` without a name means, of a recipe, or of any; `begun`, where the first rank may work on it already."""
    statuses = UNFINISHED | {"running"} if begun else UNFINISHED
    for run in every(runs):
        asked = recipe is None or run.state.get("recipe") == str(recipe.resolve())
        if asked and run.status in statuses:
            return run
    of = f" of {recipe}" if recipe else ""
    raise A2AError(f"no run{of} in {runs} is unfinished", hint="`a2a runs list` shows what there is")
