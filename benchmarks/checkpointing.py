"""How long training stands still for a checkpoint: written behind its back, waited for, and by stock transformers.Trainer.

A model of 16 million parameters with AdamW (190 MB a checkpoint), a checkpoint every eight steps; what is printed are seconds
that training waits for one. Stock Trainer neither asks the system to put files on the disk nor computes checksums. Target: a
checkpoint behind training's back makes it wait at most a third as long. On a CPU the writing takes cores and the lock of Python
from the steps beside it; how long those steps take is printed, too.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import transformers
from step_overhead import Stock

from a2a_core.job import Job, assemble
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run

STEPS, EVERY, ROUNDS = 24, 8, 2
TARGET = 1 / 3
RECIPE = """
[data.train]
use = "csv"
path = "train.csv"
[encoders.text]
use = "embedding"
width = 512
layers = 5
num_heads = 8
dropout = 0.0
[fusion]
use = "concat"
[heads.label]
use = "classify"
[losses.label]
use = "cross-entropy"
head = "label"
[trainer]
max_steps = STEPS
batch_size = 4
save = "no"
save_every = EVERY
keep_last = 1
report_to = []
learning_rate = 1e-4
[backend]
device = "cpu"
"""
KINDS = ("behind training's back", "waited for", "stock Trainer")


def main() -> int:
    """Print seconds a checkpoint and the ratio; 1 if it is missed."""
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.toml").write_text(RECIPE.replace("STEPS", str(STEPS)).replace("EVERY", str(EVERY)))
        (folder / "train.csv").write_text("text,label\n" + "a good one it was and more,yes\nbad it was indeed,no\n" * 500)
        times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for number in range(ROUNDS):
            for kind, each in times.items():
                each.append(run(kind, folder, number))
    waits, steps = ({kind: min(pair[place] for pair in each) for kind, each in times.items()} for place in (0, 1))
    behind, waited, peer = (waits[kind] for kind in KINDS)
    for kind in KINDS:
        print(
            f"{kind:24} waits {waits[kind]:.3f} s for a checkpoint, {waits[kind] / peer:.2f}x stock; a step {steps[kind]:.3f} s"
        )
    ratio = behind / waited
    print(f"behind / waited for        {ratio:.2f}x  (target {TARGET:.2f}x: {'met' if ratio <= TARGET else 'missed'})")
    return int(ratio > TARGET)


def run(kind: str, folder: Path, number: int) -> tuple[float, float]:
    """Seconds that training waited for a checkpoint, and of a step; what is written after the last one is not training's."""
    behind = f"trainer.save_async={str(kind == KINDS[0]).lower()}"
    loaded = load_recipe(folder / "recipe.toml", None, ['trainer.save="steps"', behind], for_run=True)
    place = folder / f"{KINDS.index(kind)}-{number}"
    place.mkdir()
    job = assemble(loaded, Run(place), Silent())
    fit: Any = loaded.recipe.trainer.build(job)
    engine: Any = stock(job, place) if kind == KINDS[2] else fit.engine
    waited, write = list[float](), engine._save_checkpoint
    engine._save_checkpoint = lambda *given: waited.append(timed(lambda: write(*given)))
    seconds = timed(engine.train)
    fit.engine.checkpoints.wait()
    return sum(waited) / len(waited), (seconds - sum(waited)) / STEPS


def stock(job: Job, place: Path) -> Stock:
    """The same settings."""
    args = transformers.TrainingArguments(
        output_dir=str(place),
        max_steps=STEPS,
        per_device_train_batch_size=4,
        learning_rate=1e-4,
        save_strategy="steps",
        save_steps=EVERY,
        save_total_limit=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        optim="adamw_torch",
    )
    made = Stock(model=job.model, args=args, train_dataset=job.data["train"], data_collator=job.collate)
    made.remove_callback(transformers.trainer_callback.PrinterCallback)
    return made


def timed(action: Any) -> float:
    """Seconds."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
