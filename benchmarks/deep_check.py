"""`a2a check --deep` on a recipe of seven billion parameters: seconds and memory, start-up and torch's import included.

Target: less than 10 s and less than 1 GB; beside it a bare script that only imports torch and transformers' Trainer. Seconds
are of CPU time: one thread does it all, so they are the wall's on a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROUNDS = 3
SECONDS, BYTES = 10.0, 1e9
PEER = [sys.executable, "-c", "import torch; from transformers import Trainer"]
REST = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[fusion]
use = "concat"
[heads.label]
use = "classify"
[losses.label]
use = "cross-entropy"
head = "label"
[trainer]
batch_size = 8
precision = "bf16"
"""
ASKED = {
    "a row at once": ["--set", "trainer.micro_batch=1"],
    "no micro-batch, two sizes": [],
    "--fit 80GiB": ["--fit", "80GiB"],
}
RECIPES = {
    "hf-text: a Qwen2 of 7 B": """
[encoders.text]
use = "hf-text"
[encoders.text.config]
model_type = "qwen2"
vocab_size = 152064
hidden_size = 3584
intermediate_size = 18944
num_hidden_layers = 28
num_attention_heads = 28
num_key_value_heads = 4
""",
    "hf-vision: a DINOv2 of 7 B": """
[encoders.image]
use = "hf-vision"
[encoders.image.config]
model_type = "dinov2"
image_size = 224
patch_size = 14
hidden_size = 4096
mlp_ratio = 4
num_hidden_layers = 36
num_attention_heads = 32
""",
}


class Taken(NamedTuple):
    """What a process took."""

    wall: float
    cpu: float
    memory: float


def main() -> int:
    """Print seconds and bytes; 1 if a target is missed."""
    missed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_rows(folder)
        bare = median(PEER, folder)
        print(f"bare script, imports only  {bare.cpu:.1f} s ({bare.wall:.1f} s on the wall), {bare.memory / 1e6:.0f} MB")
        for title, recipe in RECIPES.items():
            (folder / "recipe.toml").write_text(recipe + REST)
            print(title)
            for asked, options in ASKED.items():
                found = median([sys.executable, "-m", "a2a_cli", "check", "--deep", "recipe.toml", *options], folder)
                print(f"  {asked}  {found.cpu:.1f} s ({found.wall:.1f} s on the wall), {found.memory / 1e6:.0f} MB", end=": ")
                print(f"{found.cpu / bare.cpu:.1f}x the time and {found.memory / bare.memory:.1f}x the memory of the script")
                missed |= (found.cpu > SECONDS and "--fit" not in options) or found.memory > BYTES
    print(f"target: less than {SECONDS:.0f} s without --fit, and {BYTES / 1e9:.0f} GB: {'missed' if missed else 'met'}")
    return int(missed)


def median(command: list[str], folder: Path) -> Taken:
    """The median of some runs; one comes first, to warm the disk's cache."""
    every = [run(command, folder) for _ in range(ROUNDS + 1)][1:]
    return Taken(*(statistics.median(values) for values in zip(*every, strict=True)))


def run(command: list[str], folder: Path) -> Taken:
    """One process from its start to its end."""
    began = time.perf_counter()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} failed")
    return Taken(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def make_rows(folder: Path) -> None:
    """Sixteen pictures and texts."""
    from PIL import Image

    with (folder / "train.jsonl").open("w") as file:
        for number in range(16):
            Image.new("RGB", (256, 256), (number * 10, 80, 120)).save(folder / f"{number}.png")
            row = {"text": "word " * (60 + number), "image": f"{number}.png", "label": ["good", "bad"][number % 2]}
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    sys.exit(main())
