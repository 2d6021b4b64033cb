"""Time a step of the trainer `hf` beside stock transformers.Trainer, on the same model, data and optimizer.

Both train the same a2a model on the same rows, processed and collated by the same code, 2 rows a step: what differs is all that
the trainer adds (counting over the window, per-term records, groups' norms, the NaN watch) against what Trainer does. Target:
at most 1.0x stock, within the noise of the run; forward, backward and the optimizer's step alone are printed beside them.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from a2a_core.job import Job, assemble
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run

STEPS, ROUNDS = 300, 7
NOISE = 1.03
RECIPE = """
[data.train]
use = "csv"
path = "train.csv"
[encoders.text]
use = "embedding"
width = 16
layers = 1
num_heads = 2
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
batch_size = 2
log_every = 50
save = "no"
report_to = []
learning_rate = 1e-3
[backend]
device = "cpu"
"""


class Stock(transformers.Trainer):
    """Trainer as it comes, but for the two lines without which it cannot train this model at all."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The mean of the batch."""
        output = model(inputs["inputs"], inputs["targets"], ("label",))
        (total,) = output.totals.values()
        return total / len(inputs["ids"])

    def floating_point_ops(self, inputs: Any) -> int:
        """The stock one fails on nested inputs."""
        return 0


def main() -> int:
    """Print milliseconds a step and the ratio; 1 if it is missed."""
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.toml").write_text(RECIPE.replace("STEPS", str(STEPS)))
        (folder / "train.csv").write_text("text,label\n" + "a good one,yes\nbad,no\n" * 500)
        times: dict[str, list[float]] = {"forward, backward, step": [], "stock Trainer": [], "a2a-hf": []}
        for number in range(ROUNDS):
            for kind, each in times.items():
                each.append(run(kind, folder, number))
    best = {kind: statistics.median(each[1:]) for kind, each in times.items()}
    for kind, each in best.items():
        print(f"{kind:24} {each / STEPS * 1e3:.3f} ms a step")
    ratio = best["a2a-hf"] / best["stock Trainer"]
    verdict = "met" if ratio <= NOISE else "missed"
    print(f"a2a-hf / stock Trainer   {ratio:.3f}x  (target: at most 1.0x, {NOISE - 1:.0%} for noise: {verdict})")
    return int(ratio > NOISE)


def run(kind: str, folder: Path, number: int) -> float:
    """Seconds of `STEPS` steps."""
    loaded = load_recipe(folder / "recipe.toml", None, for_run=True)
    place = folder / f"{kind.split()[0].strip(',')}-{number}"
    place.mkdir()
    job = assemble(loaded, Run(place), Silent())
    if kind == "a2a-hf":
        fit: Any = loaded.recipe.trainer.build(job)
        return timed(lambda: fit.engine.train())
    if kind == "stock Trainer":
        return timed(stock(job, place).train)
    return timed(lambda: bare(job))


def stock(job: Job, place: Path) -> Stock:
    """The same settings."""
    args = transformers.TrainingArguments(
        output_dir=str(place),
        max_steps=STEPS,
        per_device_train_batch_size=2,
        learning_rate=1e-3,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
        optim="adamw_torch",
    )
    made = Stock(model=job.model, args=args, train_dataset=job.data["train"], data_collator=job.collate)
    made.remove_callback(transformers.trainer_callback.PrinterCallback)
    return made


def bare(job: Job) -> None:
    """No trainer at all."""
    optimizer = torch.optim.AdamW(job.model.parameters(), 1e-3)
    rows = torch.utils.data.DataLoader(job.data["train"], 2, shuffle=True, collate_fn=job.collate)
    job.model.train()
    for _, batch in zip(range(STEPS), rows, strict=False):
        output = job.model(batch["inputs"], batch["targets"], ("label",))
        (total,) = output.totals.values()
        (total / 2).backward()
        optimizer.step()
        optimizer.zero_grad()


def timed(action: Any) -> float:
    """Seconds."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
