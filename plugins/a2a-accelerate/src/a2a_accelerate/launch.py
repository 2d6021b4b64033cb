"""Starting ranks through torch's elastic launch; success and failure are what the ranks themselves reported."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from a2a_core import A2AError, Problem, RunFailed

GRACE = 600
"""Seconds for the ranks to end their step and save a checkpoint after an interrupt."""


def launch(command: Sequence[str], ranks: int, threads: int, folder: Path) -> None:
    """Run `command` as so many ranks. Each leaves `ranks/<rank>.json` in `folder`; the others' output goes to `logs/`."""
    reports = folder / "ranks"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what the ranks report is clearer
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(str(folder / "logs"), redirects=dict.fromkeys(range(1, ranks), Std.ALL)),
        shutdown_timeout=GRACE,
    )
    interrupted = False
    failure: ChildFailedError | None = None
    try:
        elastic_launch(config, command[0])(*command[1:])
    except SignalException:
        interrupted = True
    except ChildFailedError as error:
        failure = error  # torchrun's own ranks sometimes abort at teardown, after all is done: the reports decide
    judge([report(reports / f"{rank}.json") for rank in range(ranks)], folder, interrupted, failure)


def report(path: Path) -> dict[str, Any]:
    """What a rank said of itself; empty when it died before it could."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def judge(reports: Sequence[dict[str, Any]], folder: Path, interrupted: bool, failure: ChildFailedError | None) -> None:
    """Raise what went wrong: a rank's own error first, else who died."""
    for found in reports:
        if found.get("problems"):
            kind = A2AError if found.get("exit_code") == A2AError.exit_code else RunFailed
            error = kind([Problem(each["message"], hint=each["hint"]) for each in found["problems"]])
            error.table = found.get("table", "")
            raise error
    silent = [rank for rank, found in enumerate(reports) if not found]
    if silent and interrupted:
        raise KeyboardInterrupt
    if silent:
        first = failure.get_first_failure() if failure else None
        who = f"rank {first[0]} ended with exit code {first[1].exitcode}" if first else f"rank(s) {silent} ended without a word"
        raise RunFailed(f"{who}", hint=f"their output: {folder / 'logs'}; go on with `a2a train --resume {folder}`")
