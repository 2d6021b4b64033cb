"""What kills a training, done to it for real: what it says, and whether it then goes on to the same weights.

A small language model on packed conversations of a mix of two sources, with dropout and AdamW, a checkpoint every 4 of 240
steps (40, on two ranks). After each fault the weights are compared, bit by bit, with those of a run that was never stopped,
and so is each step's loss. The table is that of docs/reliability.md. `faults.py NAME...` tries some, `--few` tries less of
each, `--json` prints a line for each as it is done.

`a2a` runs in children forked from this process, so that imports are paid once; ranks are processes of their own.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from faulty import disks, rows, stops
from faulty.place import MissedError, Place, SkippedError

FAULTS: dict[str, Callable[[Place], str]] = {
    "killed": stops.killed,
    "export-killed": stops.export_killed,
    "told": stops.told,
    "rank-killed": stops.rank_killed,
    "rank-restarted": stops.rank_restarted,
    "rank-stopped": stops.rank_stopped,
    "all-killed": stops.all_killed,
    "launcher-killed": stops.launcher_killed,
    "worker-killed": stops.worker_killed,
    "disk-full": disks.disk_full,
    "checkpoint-damaged": disks.checkpoint_damaged,
    "state-lost": disks.state_lost,
    "two-runs": disks.two_runs,
    "clock": disks.clock,
    "not-finite": rows.not_finite,
    "server-failing": rows.server_failing,
    "shard-lost": rows.shard_lost,
}


def main() -> int:
    """Try the faults; 1 if one of them did not end as it should."""
    import datasets  # noqa: F401  children find imported what they need

    import a2a_cli.train  # noqa: F401
    import a2a_hf.fit  # noqa: F401

    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", choices=[*FAULTS, []], default=list(FAULTS))
    parser.add_argument("--few", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder).resolve(), given.few)
        for name in given.names or FAULTS:
            began, ended = time.monotonic(), "as it should"
            try:
                outcome = FAULTS[name](place)
            except (MissedError, SkippedError) as error:
                outcome, ended = str(error), type(error).__name__.removesuffix("Error").lower()
            missed += ended == "missed"
            done = (FAULTS[name].__doc__ or "").strip()
            if given.json:
                print(json.dumps({"fault": name, "done": done, "ended": ended, "outcome": outcome}), flush=True)
            else:
                mark = "" if ended == "as it should" else f"**{ended}**: "
                print(f"| {done.rstrip('.')} | {mark}{outcome} | {time.monotonic() - began:.0f} s |", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
