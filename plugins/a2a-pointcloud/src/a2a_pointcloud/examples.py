"""Small clouds for the testing kit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from a2a_pointcloud.reading import Floats


def cloud(points: int, columns: Sequence[str]) -> Floats:
    """Noise, the same every time."""
    return np.random.default_rng(points).normal(size=(points, 3 + len(columns)))


def example_values(columns: Sequence[str]) -> list[list[list[float]]]:
    """Of 9, 3 and 20 points."""
    return [cloud(points, columns).tolist() for points in (9, 3, 20)]


def example_files(columns: Sequence[str], folder: Path) -> list[Path]:
    """A `.ply` of text with 9 points, a `.npy` of 3, a binary `.ply` of 20."""
    files = [folder / "text.ply", folder / "plain.npy", folder / "binary.ply"]
    names = ("x", "y", "z", *columns)
    head = "ply\nformat {} 1.0\nelement vertex {}\n" + "".join(f"property float {name}\n" for name in names) + "end_header\n"
    lines = [" ".join(f"{number:.6f}" for number in point) + "\n" for point in cloud(9, columns)]
    files[0].write_text(head.format("ascii", 9) + "".join(lines))
    np.save(files[1], cloud(3, columns))
    files[2].write_bytes(head.format("binary_big_endian", 20).encode() + cloud(20, columns).astype(">f4").tobytes())
    return files
