"""One rank of a run whose folder is there already: `python -m a2a_cli.rank FOLDER`. Backends start it, users do not."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from a2a_cli.progress import reporter
from a2a_core import heartbeat, training
from a2a_core.errors import A2AError
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Reporter
from a2a_core.runs import Run

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that comes when the parent has ended."""


def main(arguments: list[str]) -> int:
    """Do this rank's part, and leave word of how it ended in `ranks/<rank>.json`."""
    end_with_parent()
    run = Run(Path(arguments[0]))
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    code = over(run.folder, ranks)
    if code is not None:
        return code
    shows = reporter("--json" in arguments, training.main_rank())
    resume = "--resume" in arguments
    if training.main_rank() and heartbeat.read(run.folder, rank):
        resume = again(run, shows)
    heartbeat.take_back(run.folder, rank)
    ended: A2AError | None = None
    try:
        loaded = load_recipe(run.recipe, None, environ={})
        training.work(loaded, run, shows, resume)
    except A2AError as error:
        ended = error
    except KeyboardInterrupt:
        return 1
    heartbeat.leave_word(run.folder, rank, ended)
    return 0 if ended is None else ended.exit_code


def end_with_parent() -> None:
    """Ranks of a launcher that was killed would work on a run that nobody holds any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def over(folder: Path, ranks: int) -> int | None:
    """The exit code at which ranks that were started again find that there is nothing left to do; None where there is.

    They ended well and one of them died of its own end; or one said what is wrong, and would say it again; or the run was told
    to stop. All of them see the same, since none of those reports is touched then.
    """
    reports = [heartbeat.report(folder, rank) for rank in range(ranks)]
    if all(found.get("exit_code") == 0 for found in reports):
        return 0
    wrong = any(found.get("problems") and not found.get("lost") for found in reports)
    return 1 if wrong or (folder / "ranks" / heartbeat.STOPPING).exists() else None


def again(run: Run, shows: Reporter) -> bool:
    """This rank was here before: say so, count it, and go on from where it can."""
    run.update(restarts=run.state.get("restarts", 0) + 1)
    said = heartbeat.report(run.folder, 0).get("problems")
    shows.note(f"ranks are started again: {said[0]['message'] if said else 'one of them died'}")
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
