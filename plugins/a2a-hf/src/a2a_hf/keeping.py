"""Which checkpoints are kept: the last ones, and the best ones beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from a2a_core.runs import Run
    from a2a_hf.trainer import HfTrainer


def rotate(run: Run, config: HfTrainer, more_is_better: bool | None, best: str | None) -> None:
    """Delete checkpoints that are neither among the last `keep_last` nor among the best `keep_best`; 0 last ones are all."""
    if not config.keep_last:
        return
    found = run.every_checkpoint()
    values = {path: value for path in reversed(found) if (value := judged(path)) is not None}
    ranked = sorted(values, key=lambda path: values[path], reverse=bool(more_is_better))
    kept = {*found[: config.keep_last], *ranked[: config.keep_best]}
    for path in found:
        if path not in kept and str(path) != best:
            shutil.rmtree(path, ignore_errors=True)


def judged(path: Path) -> float | None:
    """What the metric that tells the best said of its weights; None where they were not evaluated."""
    try:
        value = json.loads((path / "a2a.json").read_text())["judged"]
    except (OSError, ValueError, KeyError):
        return None
    return value if isinstance(value, (int, float)) else None
