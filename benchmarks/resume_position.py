"""Time to go on with a run that has done 100 steps against one that has done 1,000,000: how far it came must not matter.

A run of one row a step is broken off at step 100; a copy of its checkpoint says that it was step 1,000,000. Both go on, by the
trainer `hf`, to the end of their next step. Beside it, what stock transformers.Trainer does to the same loader
(accelerate's skip_first_batches), to the first batch. Rows that come as a stream are measured in streaming.py.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import transformers
from accelerate import PartialState
from accelerate.data_loader import skip_first_batches

from a2a_core.data import Batches, Prepared, load
from a2a_core.job import assemble
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run

NEAR, FAR, ROUNDS = 100, 1_000_000, 5
MOST = 1.1
RECIPE = f"""
[data.train]
use = "csv"
path = "train.csv"
[encoders.text]
use = "embedding"
width = 16
layers = 1
num_heads = 2
[fusion]
use = "concat"
[heads.label]
use = "classify"
[losses.label]
use = "cross-entropy"
head = "label"
[trainer]
epochs = 1
batch_size = 1
log_every = 1000
save = "steps"
save_every = {NEAR}
save_async = false
report_to = []
[backend]
device = "cpu"
"""


class There(Exception):  # noqa: N818 - no error: the run has come as far as it should
    """A step was done."""


class Until(Silent):
    """Ends the run with a step."""

    def __init__(self, last: int) -> None:
        self.last = last

    def step(self, step: int) -> None:
        """See Reporter.step."""
        if step >= self.last:
            raise There


def main() -> int:
    """Print milliseconds and ratios; 1 if the target is missed."""
    transformers.logging.set_verbosity_error()
    PartialState(cpu=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.toml").write_text(RECIPE)
        (folder / "train.csv").write_text("text,label\n" + "a good one,yes\nbad,no\n" * (FAR // 2 + NEAR))
        until(NEAR + 1, folder, None)
        near = folder / "run" / "checkpoints" / f"checkpoint-{NEAR}"
        own = {NEAR: near, FAR: moved(near)}
        times: dict[tuple[str, int], list[float]] = {}
        for _ in range(ROUNDS):
            for step, checkpoint in own.items():
                times.setdefault(("a2a-hf", step), []).append(until(step + 1, folder, checkpoint))
                times.setdefault(("stock skip", step), []).append(stock(folder, step))
    best = {key: min(each[1:]) for key, each in times.items()}
    for kind in ("a2a-hf", "stock skip"):
        near_by, far_off = (best[kind, step] for step in (NEAR, FAR))
        print(
            f"{kind:12} at step {NEAR} {near_by * 1e3:.0f} ms, at step {FAR:,} {far_off * 1e3:.0f} ms: {far_off / near_by:.2f}x"
        )
    ratio = best["a2a-hf", FAR] / best["a2a-hf", NEAR]
    print(f"target: at most {MOST}x: {'met' if ratio <= MOST else 'missed'}")
    return int(ratio > MOST)


def moved(near: Path) -> Path:
    """The checkpoint, as one that was written much later."""
    far = near.with_name(f"checkpoint-{FAR}")
    shutil.copytree(near, far)
    state = json.loads((far / "trainer_state.json").read_text())
    (far / "trainer_state.json").write_text(json.dumps(state | {"global_step": FAR}))
    return far


def until(step: int, folder: Path, checkpoint: Path | None) -> float:
    """Seconds from where Trainer begins, or goes on, until a step is done."""
    loaded = load_recipe(folder / "recipe.toml", None, for_run=True)
    (folder / "run").mkdir(exist_ok=True)
    fit: Any = loaded.recipe.trainer.build(assemble(loaded, Run(folder / "run"), Until(step), checkpoint))
    start = time.perf_counter()
    try:
        fit.train()
    except There:
        return time.perf_counter() - start
    raise RuntimeError(f"the run ended before step {step}")


class Nothing(Prepared):
    """Rows that cost nothing to read."""

    def __getitem__(self, index: int) -> Any:
        return index


def stock(folder: Path, step: int) -> float:
    """Seconds to the first batch behind so many, by walking there."""
    rows = load_recipe(folder / "recipe.toml", None, for_run=True).recipe.data["train"].build()
    data = Nothing(rows, {}, {})  # type: ignore[arg-type]
    loader = load(data, as_it_is, Batches(len(data), 1, shuffle=True))  # type: ignore[arg-type]
    start = time.perf_counter()
    next(iter(skip_first_batches(loader, step)))
    return time.perf_counter() - start


def as_it_is(samples: Any) -> Any:
    """No batch."""
    return samples


if __name__ == "__main__":
    sys.exit(main())
