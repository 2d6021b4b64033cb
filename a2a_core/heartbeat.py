"""Where each rank of a run is: `ranks/<rank>.at`, written at every step, read when one does not come."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from a2a_core.errors import A2AError, Problem, RunFailed
from a2a_core.runs import write

STOPPING = "stopping"
"""A file in `ranks/`: the run was told to stop, and its ranks are not started again."""
SHOWN = 8
"""Rows of a step that are named."""
PATIENCE = 3.0
"""Seconds that a rank gives others to say that they wait, too, or what went wrong with them."""
LOST = ("gloo/", "NCCL")
"""In what torch says when ranks could not meet; gloo's errors begin with the place in its sources."""


class RankLost(RunFailed):
    """Another rank did not come to where all meet; ranks that are started again go on from the last checkpoint."""


class Pulse:
    """This rank's file, kept open: a beat is one write."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        self.state: dict[str, Any] = {"host": socket.gethostname(), "pid": os.getpid(), "step": None, "doing": "starting"}

    def write(self, **changes: Any) -> None:
        """One line; what is left of a longer one stands behind its end."""
        self.state |= changes
        with suppress(OSError):  # a full disk is told by what matters
            os.pwrite(self.file, f"{json.dumps(self.state | {'time': time.time()})}\n".encode(), 0)


PULSE: Pulse | None = None


def begin(folder: Path) -> None:
    """Watch this process, if it is one of several ranks of the run in `folder`."""
    global PULSE
    end()
    if "RANK" in os.environ:
        PULSE = Pulse(folder / "ranks" / f"{os.environ['RANK']}.at")
        PULSE.write()


def beat(step: int, ids: Sequence[Any]) -> None:
    """Called by trainers where a rank has its rows of a step, before it meets the others."""
    if PULSE is not None:
        PULSE.write(step=step, rows=[str(each) for each in ids[:SHOWN]], more=max(0, len(ids) - SHOWN), doing="step")


def end() -> None:
    """This rank is done."""
    global PULSE
    if PULSE is not None:
        os.close(PULSE.file)
        PULSE = None


def leave_word(folder: Path, rank: int, error: A2AError | None = None) -> None:
    """Write down how a rank that a backend started ended, `ranks/<rank>.json`."""
    write(folder / "ranks" / f"{rank}.json", json.dumps({"exit_code": 0} if error is None else said(error)))


def take_back(folder: Path, rank: int) -> None:
    """A rank that is started again has not ended yet."""
    (folder / "ranks" / f"{rank}.json").unlink(missing_ok=True)


def said(error: A2AError) -> dict[str, Any]:
    """An error as JSON, for other processes: `error_of`."""
    problems = [{"message": problem.message, "hint": problem.hint} for problem in error.problems]
    return {"exit_code": error.exit_code, "table": error.table, "problems": problems, "lost": isinstance(error, RankLost)}


def error_of(found: Mapping[str, Any]) -> A2AError:
    """What another process said, as the error it was."""
    kind = A2AError if found["exit_code"] == A2AError.exit_code else RunFailed
    error = kind([Problem(each["message"], hint=each["hint"]) for each in found["problems"]])
    error.table = found.get("table", "")
    return error


def report(folder: Path, rank: int) -> dict[str, Any]:
    """What `leave_word` wrote; empty where a rank died before it could."""
    try:
        found: dict[str, Any] = json.loads((folder / "ranks" / f"{rank}.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def read(folder: Path, rank: int) -> dict[str, Any]:
    """Where a rank was last; empty when it never began."""
    try:
        found: dict[str, Any] = json.loads((folder / "ranks" / f"{rank}.at").read_text().partition("\n")[0])
    except (OSError, ValueError):
        return {}
    return found


def place(found: dict[str, Any]) -> str:
    """A rank's last step and rows in words, to follow its name."""
    if not found:
        return "it never began"
    if found.get("step") is None:
        return f"on {found['host']}, before its first step"
    rows = ", ".join(found.get("rows", ())) + (f" and {found['more']} more" if found.get("more") else "")
    return f"on {found['host']}, in step {found['step']} with rows {rows}"


def missing(folder: Path, ranks: int) -> list[tuple[int, dict[str, Any]]]:
    """Ranks that failed, or else those that do not wait; where all wait, those that are behind."""
    found = [(rank, read(folder, rank)) for rank in range(ranks)]
    failed = [each for each in found if each[1].get("doing") == "failed"]
    astray = [each for each in found if each[1].get("doing") != "waiting"]
    steps = [-1 if (step := state.get("step")) is None else int(step) for _, state in found]
    behind = [each for each, step in zip(found, steps, strict=True) if step < max(steps)]
    return failed or astray or behind


def lost(error: BaseException) -> bool:
    """Whether an exception means that ranks could not meet."""
    import torch.distributed as dist

    known = isinstance(error, RuntimeError) and any(word in str(error) for word in LOST)
    return known or isinstance(error, dist.DistError)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Ranks that could not meet end with the name of the one that did not come; RankLost."""
    begin(folder)
    try:
        yield
        if PULSE is not None:
            PULSE.write(doing="done")
    except A2AError as error:
        if PULSE is not None:
            doing = "waiting" if isinstance(error, RankLost) else "failed"
            PULSE.write(doing=doing, error=error.problems[0].message)
        raise
    except Exception as error:
        if PULSE is None:
            raise
        if not lost(error):
            PULSE.write(doing="failed", error=f"{type(error).__name__}: {error}")
            raise
        PULSE.write(doing="waiting")
        raise not_met(folder, error) from error
    finally:
        end()


def not_met(folder: Path, error: BaseException) -> RankLost:
    """Who did not come, once the others had time to say that they wait."""
    ranks = int(os.environ["WORLD_SIZE"])
    until = time.monotonic() + PATIENCE
    while len(absent := missing(folder, ranks)) > 1 and time.monotonic() < until:
        time.sleep(0.1)
    named = "; ".join(f"rank {rank} {told(state)}" for rank, state in absent[:SHOWN]) or "nobody knows which"
    why = re.sub(r"^\[\S*\] ", "", str(error)).splitlines()[0].partition(". ")[0][:200]  # without the place in gloo's sources
    hint = f"rank {os.environ['RANK']} was told: {why}; go on with `a2a train --resume {folder}`"
    return RankLost(f"ranks could not meet: {named}", hint=hint)


def told(state: dict[str, Any]) -> str:
    """What became of a rank that did not come."""
    if state.get("doing") == "failed":
        return f"failed ({place(state)}): {state['error']}"
    since = f", {time.time() - state['time']:.0f} s ago" if state else ""
    return f"did not come: last seen {place(state)}{since}" if state else "did not come: it never began"
