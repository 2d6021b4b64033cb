"""Claim: with a frozen 12-layer ViT, an epoch from the cache costs at most 1.1 times what the same training fed precomputed
features does, and is at least 5 times as fast as computing them each time.

    python benchmarks/frozen_features.py

One recipe, one trainer, one data set of JPEG files, three ways to the ViT's tokens, taking turns in one run: `a2a train` with
its cache (filled before, in a run of its own); the same with `cache = false`; and tensors that were computed beforehand, held
in memory, given by a plain list and stacked by a plain collate function. The rest that is trained is small: a projection, two
bottleneck layers and a classifier. Measured is processor time (one thread does all of it, neighbours must not count) from the
last optimizer step of an epoch to that of the next; what counts is the median. Filling the cache, and finding everything in it
at a run's start, are printed beside it.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
import transformers
from PIL import Image

from a2a_core.features import MASK, VALUES
from a2a_core.job import Job, assemble
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run
from a2a_core.structures import Sample

ROWS, BATCH, ROUNDS = 96, 8, 3
EPOCHS = {"cache": 6, "precomputed": 6, "computed": 2}
AT_MOST, AT_LEAST = 1.1, 5.0
RECIPE = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[encoders.image]
use = "hf-vision"
freeze = true
[encoders.image.config]
model_type = "vit"
hidden_size = 384
num_hidden_layers = 12
num_attention_heads = 6
intermediate_size = 1536
image_size = 112
patch_size = 16
[fusion]
use = "bottleneck"
width = 64
num_heads = 4
layers = 2
[heads.label]
use = "classify"
[losses.label]
use = "cross-entropy"
head = "label"
[trainer]
batch_size = 8
learning_rate = 1e-4
log_every = 1000
evaluate = "no"
save = "no"
report_to = []
[backend]
device = "cpu"
"""


class Clock(Silent):
    """Notes when each optimizer step was done."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def step(self, step: int) -> None:
        """See Reporter."""
        self.steps.append(time.process_time())

    def epochs(self) -> list[float]:
        """Seconds of each epoch but the first, whose beginning nobody sees."""
        ends = self.steps[ROWS // BATCH - 1 :: ROWS // BATCH]
        return [after - before for before, after in pairwise(ends)]


class Plain:
    """A batch of equally long features: one `stack`."""

    def __init__(self, job: Job) -> None:
        self.labels: Any = job.model.parts.heads["label"].processor()

    def __call__(self, samples: Sequence[tuple[str, torch.Tensor, Any]]) -> dict[str, Any]:
        """Names, features, labels."""
        names, features, labels = zip(*samples, strict=True)
        values, there = torch.stack(features), torch.arange(len(samples))
        tensors = {VALUES: values, MASK: torch.ones(values.shape[:2], dtype=torch.bool)}
        inputs = {"size": len(samples), "image": {"tensors": tensors, "row": there, "slot": 0 * there, "slots": 1}}
        targets = {"label": self.labels.pad(labels)}
        return {
            "inputs": inputs,
            "targets": targets,
            "ids": list(names),
            "bad": [],
            "tokens": values.shape[0] * values.shape[1],
        }


def precomputed(job: Job) -> Job:
    """Every row's features in memory: what somebody writes who computes them by hand."""
    data = job.data["train"]
    encoder, processor = job.model.encoders["image"], data.media["image"].processor
    rows = []
    with torch.no_grad():
        for sample in (data[index] for index in range(len(data))):
            assert isinstance(sample, Sample)
            values = encoder(**processor.pad(sample.items["image"])).values[0]
            rows.append((sample.row.id, values, sample.targets["label"]))
    given: Any = {"data": {"train": rows}, "collate": Plain(job)}
    return attrs.evolve(job, **given)


def main() -> int:
    """Print seconds and ratios; 1 if a target is missed."""
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["A2A_CACHE"] = str(folder / "cache")
        make_data(folder)
        times: dict[str, list[float]] = {kind: [] for kind in EPOCHS}
        _, filling = run(folder, "cache", "first")
        again = []
        for number in range(ROUNDS):
            for kind, each in times.items():
                found, start = run(folder, kind, str(number))
                each += found
                again += [start] if kind == "cache" else []
    best = {kind: statistics.median(each) for kind, each in times.items()}
    for kind, seconds in best.items():
        print(f"{kind:14} {seconds * 1e3:9.1f} ms an epoch of {ROWS} rows, {len(times[kind])} epochs")
    print(f"filling the cache took {filling:.2f} s, finding everything in it {statistics.median(again):.2f} s")
    against, faster = best["cache"] / best["precomputed"], best["computed"] / best["cache"]
    met = against <= AT_MOST and faster >= AT_LEAST
    print(f"cache / precomputed {against:.3f}x (target: at most {AT_MOST}x)")
    print(f"computed / cache    {faster:.1f}x (target: at least {AT_LEAST:g}x): {'met' if met else 'missed'}")
    return int(not met)


def make_data(folder: Path) -> None:
    """JPEG files of noise, and two classes."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(ROWS):
        pixels = random.integers(0, 255, (112, 112, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
        rows.append({"image": f"{number}.jpg", "label": "ab"[number % 2]})
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.toml").write_text(RECIPE)


def run(folder: Path, kind: str, name: str) -> tuple[list[float], float]:
    """Seconds of each epoch, and what the cache took before the first."""
    cache = "true" if kind == "cache" else "false"
    sets = (f"encoders.image.cache={cache}", f"trainer.epochs={EPOCHS[kind]}")
    loaded = load_recipe(folder / "recipe.toml", None, sets, for_run=True)
    place, clock = Run(folder / f"{kind}-{name}"), Clock()
    place.folder.mkdir()
    job = assemble(loaded, place, clock)
    fit: Any = loaded.recipe.trainer.build(precomputed(job) if kind == "precomputed" else job)
    start = time.process_time()
    if kind == "cache":
        job.cache_features(torch.device("cpu"), fit.engine.accelerator.autocast)
    looked = time.process_time() - start
    fit.engine.train()
    return clock.epochs(), looked


if __name__ == "__main__":
    sys.exit(main())
