"""Small series for the testing kit."""

from __future__ import annotations

from collections.abc import Sequence
from math import sin
from pathlib import Path
from typing import Any

import numpy as np


def waves(channels: int, steps: int, gaps: bool = False) -> list[list[float | None]]:
    """Steps of channels, every third value missing where there are gaps."""
    return [
        [None if gaps and (step + at) % 3 == 1 else sin(0.7 * step * (at + 1)) + at for at in range(channels)]
        for step in range(steps)
    ]


def example_values(channels: int, names: Sequence[str] | None, time: str) -> list[Any]:
    """A regular one of 19 steps, one of 7 with gaps, and two of 30 at irregular times, of which one has apart channels."""
    times = [step + 0.3 * sin(step) for step in range(30)]
    found: list[Any] = [waves(channels, 19), waves(channels, 7, gaps=True), {time: times, "values": waves(channels, 30)}]
    if names is not None:
        columns = dict(zip(names, zip(*waves(channels, 30), strict=True), strict=True))
        found.append(
            {name: {time: times[at::2], "values": list(column[at::2])} for at, (name, column) in enumerate(columns.items())}
        )
    return found


def example_files(channels: int, names: Sequence[str] | None, time: str, folder: Path) -> list[Path]:
    """A `.npy` of 19 steps, a `.csv` of 7 with empty cells, and one of 30, if there are names at irregular times."""
    files = [folder / "regular.npy", folder / "gaps.csv", folder / "long.csv"]
    np.save(files[0], np.array(waves(channels, 19), np.float32))
    files[1].write_text("".join(line(row) for row in waves(channels, 7, gaps=True)))
    rows = [[step + 0.3 * sin(step), *row] if names else row for step, row in enumerate(waves(channels, 30))]
    files[2].write_text("".join(line(row) for row in ([[time, *names]] if names else []) + rows))
    return files


def line(row: Sequence[Any]) -> str:
    """One of a `.csv`."""
    return ",".join("" if cell is None else str(cell) for cell in row) + "\n"
