"""Claim: images to normalised tensors at least 1.8 times as fast as transformers' Pillow processor of CLIP, to one grey level.

    python benchmarks/image_processing.py

Both go from JPEG file to tensor in one thread, taking turns; measured is processor time. The pictures are made, of two usual
sizes, and real photos where `A2A_DATA`, or `../shared/data`, has them. Exit code 1 where the claim does not hold over all
sets together. What is left of the time is mostly decoding, which both do alike: the larger a file, the nearer the two.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from a2a_vision.hf_vision import HfVisionEncoder

ROUNDS, RATIO, LEVELS = 15, 1.8, 1.0
SIZES = ((320, 240), (500, 375))
SETS = ("flickr8k_mini", "subject_photos", "hand_gesture")
DATA = Path(os.environ.get("A2A_DATA", Path(__file__).parents[2] / "shared" / "data"))

Process = Callable[[Path], torch.Tensor]


class Compared(NamedTuple):
    """Milliseconds a picture, and the largest difference in grey levels."""

    stock: float
    ours: float
    levels: float


def main() -> int:
    """Print a line for each set, and one over all; 1 if a target is missed."""
    torch.set_num_threads(1)
    print(f"{'pictures':24}{'kB':>5}{'stock, ms':>11}{'a2a, ms':>9}{'ratio':>7}  largest difference, grey levels")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, files in sets(Path(folder)).items():
            each = compare(files)
            size = statistics.mean(file.stat().st_size for file in files) / 1000
            print(f"{name:24}{size:5.0f}{each.stock:11.2f}{each.ours:9.2f}{each.stock / each.ours:6.2f}x  {each.levels:.3f}")
            found.append(each)
    ratio = sum(each.stock for each in found) / sum(each.ours for each in found)
    levels = max(each.levels for each in found)
    met = ratio >= RATIO and levels <= LEVELS + 1e-3
    wanted = f"wanted: at least {RATIO}x, at most {LEVELS:g}: {'met' if met else 'missed'}"
    print(f"ratio over all sets {ratio:.2f}x, largest difference {levels:.3f} ({wanted})")
    return int(not met)


def sets(folder: Path) -> dict[str, list[Path]]:
    """Files by set."""
    found = {name: sorted((DATA / name / "images").glob("*"))[:32] for name in SETS}
    made = {f"generated, {width} x {height}": generated(folder, width, height) for width, height in SIZES}
    return made | {name: files for name, files in found.items() if files}


def generated(folder: Path, width: int, height: int) -> list[Path]:
    """Pictures with waves, edges and noise, of a photo's size in bytes."""
    files = []
    for number in range(16):
        random = np.random.default_rng(number)
        rows, columns = np.mgrid[0:height, 0:width][..., None] / width
        waves = np.sin(rows * random.uniform(2, 60, 3)) + np.cos(columns * random.uniform(2, 60, 3))
        edges = np.where(rows + columns * random.uniform(-1, 1, 3) > 0.5, 40.0, -40.0)
        values = 128 + 35 * waves + edges + random.normal(0, 7, (height, width, 3))
        files.append(folder / f"{width}-{number}.jpg")
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def compare(files: Sequence[Path]) -> Compared:
    """Both in turns on the same files; of each the median round."""
    stock = CLIPImageProcessorPil()
    tower = {"model_type": "clip_vision_model", "image_size": 224, "patch_size": 16}
    processor = HfVisionEncoder(config=tower).processor()

    def theirs(file: Path) -> torch.Tensor:
        with Image.open(file) as image:
            return stock(image, return_tensors="pt")["pixel_values"][0]

    def ours(file: Path) -> torch.Tensor:
        return processor(file).tensors["pixel_values"]

    level = torch.tensor(stock.image_std).view(3, 1, 1) * 255
    levels = max(float(((theirs(file) - ours(file)) * level).abs().max()) for file in files)
    rounds = [(timed(theirs, files), timed(ours, files)) for _ in range(ROUNDS)]
    return Compared(*(statistics.median(times) / len(files) * 1e3 for times in zip(*rounds, strict=True)), levels)


def timed(process: Process, files: Sequence[Path]) -> float:
    """Seconds of processor time for all files."""
    start = time.process_time()
    for file in files:
        process(file)
    return time.process_time() - start


if __name__ == "__main__":
    sys.exit(main())
