"""Pictures for the tests: real photos where they are to be had, and generated ones."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PHOTOS = ("flickr8k_mini", "subject_photos", "hand_gesture")


@pytest.fixture(scope="session")
def photos() -> list[Path]:
    """A few real photos of each set in `A2A_DATA`, by default `shared/data` beside the repository."""
    default = Path(__file__).parents[3].parent / "shared" / "data"
    folder = Path(os.environ.get("A2A_DATA", default))
    found = [file for name in PHOTOS for file in sorted((folder / name / "images").glob("*"))[::12][:8]]
    if not found:
        pytest.skip(f"no photos in {folder}")
    return found


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """(height, width) -> a picture with smooth areas, edges and noise, as a photo has them."""
    return make_picture


def make_picture(height: int, width: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width][..., None] / max(height, width, 8)
    waves = np.sin(rows * random.uniform(2, 30, 3)) + np.cos(columns * random.uniform(2, 30, 3))
    edges = np.where(rows + columns * random.uniform(-1, 1, 3) > 0.5, 60.0, -60.0)
    values = 128 + 40 * waves + edges + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert(mode)
