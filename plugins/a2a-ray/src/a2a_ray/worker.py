"""One rank of a run, in a worker of Ray Train."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a2a_core import heartbeat, training
from a2a_core.errors import A2AError
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run


class Lines(Silent):
    """Shows what is recorded, a line each; Ray carries it to where the job was submitted."""

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """See Reporter."""
        show(f"step {step}: {told(values)}")

    def evaluated(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """See Reporter."""
        show(f"step {step}, {split}: {told(values)}")

    def note(self, text: str) -> None:
        """See Reporter."""
        show(f"note: {text}")


def show(line: str) -> None:
    """Past `print`, which Ray Train replaces by one that writes twice."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def told(values: Mapping[str, Any]) -> str:
    """Numbers by name."""
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if isinstance(value, (int, float)))


def work(config: Mapping[str, str]) -> None:
    """Train as the rank that the environment names, from the last checkpoint if there is one.

    A mistake of the user's is left in `ranks/<rank>.json` and not raised: starting again would not mend it.
    """
    run, rank = Run(Path(config["run"])), int(os.environ["RANK"])
    heartbeat.take_back(run.folder, rank)
    try:
        loaded = load_recipe(run.recipe, None, environ={})
        shows = Lines() if training.main_rank() else Silent()
        training.work(loaded, run, shows, resume=run.newest_checkpoint() is not None)
    except A2AError as error:
        heartbeat.leave_word(run.folder, rank, error)
        if error.exit_code != A2AError.exit_code:
            raise
    else:
        heartbeat.leave_word(run.folder, rank)
