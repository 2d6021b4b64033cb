"""Images to normalised tensors: a2a-vision against transformers' Pillow processor of CLIP, from JPEG file to tensor.

Target: at least 1.8x the samples per second, one thread, and the same pixels within one grey level. Real photos are used where
`A2A_DATA` (or `shared/data` beside the repository) has them; else pictures with waves, edges and noise are made.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from a2a_vision.hf_vision import HfVisionEncoder

ROUNDS, RATIO, LEVELS = 15, 1.8, 1.0
SETS = ("flickr8k_mini", "subject_photos", "hand_gesture")
DATA = Path(os.environ.get("A2A_DATA", Path(__file__).parents[2] / "shared" / "data"))


def main() -> int:
    """Print a line for each set; 1 if a target is missed."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = [compare(name, files) for name, files in sets(Path(folder)).items()]
    stock, ours, differences = zip(*found, strict=True)
    ratio, worst = sum(stock) / sum(ours), max(differences)
    met = ratio >= RATIO and worst <= LEVELS + 1e-3
    print(f"over all           {ratio:.2f}x  largest difference {worst:.3f} grey levels")
    print(f"target: at least {RATIO}x over all, within {LEVELS:g} grey level: {'met' if met else 'missed'}")
    return int(not met)


def sets(folder: Path) -> dict[str, list[Path]]:
    """Photos by set, or pictures that are made."""
    found = {name: sorted((DATA / name / "images").glob("*"))[:40] for name in SETS}
    found = {name: files for name, files in found.items() if files}
    return found or {"generated 500x375": generated(folder)}


def generated(folder: Path) -> list[Path]:
    """Twenty JPEG files."""
    files = []
    for number in range(20):
        random = np.random.default_rng(number)
        rows, columns = np.mgrid[0:375, 0:500][..., None] / 500
        waves = np.sin(rows * random.uniform(2, 30, 3)) + np.cos(columns * random.uniform(2, 30, 3))
        values = 128 + 50 * waves + random.normal(0, 10, (375, 500, 3))
        files.append(folder / f"{number}.jpg")
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def compare(name: str, files: list[Path]) -> tuple[float, float, float]:
    """Time both in turns; print and return milliseconds a picture of each, and the largest difference in grey levels."""
    stock = CLIPImageProcessorPil()
    tower = {"model_type": "clip_vision_model", "image_size": 224, "patch_size": 16}
    ours = HfVisionEncoder(config=tower).processor()

    def theirs(file: Path) -> torch.Tensor:
        with Image.open(file) as image:
            return stock(image, return_tensors="pt")["pixel_values"][0]

    def mine(file: Path) -> torch.Tensor:
        return ours(file).tensors["pixel_values"]

    level = torch.tensor(stock.image_std).view(3, 1, 1) * 255
    worst = max(float(((theirs(file) - mine(file)) * level).abs().max()) for file in files)
    times: dict[str, list[float]] = {"stock": [], "a2a": []}
    for _ in range(ROUNDS):
        times["stock"].append(timed(theirs, files))
        times["a2a"].append(timed(mine, files))
    a, b = (statistics.median(each) / len(files) * 1e3 for each in times.values())
    print(f"{name:18} stock {a:.2f} ms  a2a {b:.2f} ms a picture  {a / b:.2f}x  largest difference {worst:.3f} grey levels")
    return a, b, worst


def timed(process: Callable[[Path], torch.Tensor], files: list[Path]) -> float:
    """Seconds for all files."""
    start = time.perf_counter()
    for file in files:
        process(file)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
