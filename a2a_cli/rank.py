"""One rank of a run whose folder is there already: `python -m a2a_cli.rank FOLDER`. Backends start it, users do not."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from a2a_cli.progress import reporter
from a2a_core import training
from a2a_core.errors import A2AError
from a2a_core.recipe import load_recipe
from a2a_core.runs import Run, write


def main(arguments: list[str]) -> int:
    """Do this rank's part, and leave word of how it ended in `ranks/<rank>.json`."""
    run = Run(Path(arguments[0]))
    rank = os.environ["RANK"]
    ended: dict[str, Any] = {"exit_code": 0}
    try:
        loaded = load_recipe(run.recipe, None, environ={})
        shows = reporter("--json" in arguments, training.main_rank())
        training.work(loaded, run, shows, "--resume" in arguments)
    except A2AError as error:
        problems = [{"message": problem.message, "hint": problem.hint} for problem in error.problems]
        ended = {"exit_code": error.exit_code, "table": error.table, "problems": problems}
    except KeyboardInterrupt:
        return 1
    write(run.folder / "ranks" / f"{rank}.json", json.dumps(ended))
    return int(ended["exit_code"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
