"""Series in files: `.csv` and `.npy`."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from tokenize import TokenError
from typing import Any

from numpy.lib.format import open_memmap

from a2a_timeseries.cells import number


def read_file(path: Path) -> Any:
    """An array, or columns by name; ValueError for a file of another kind, and for one that is broken."""
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".csv":
        return read_csv(path)
    raise ValueError(f"a series is a .csv or .npy file, not {suffix or 'one without a suffix'}")


def read_npy(path: Path) -> Any:
    """The array, mapped, so that of a segment nothing else is read; a structured one by field."""

    try:
        array = open_memmap(path, mode="r")
    # a header is Python text, whatever the file's bytes are
    except (ValueError, OSError, EOFError, SyntaxError, TokenError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"this .npy file cannot be read, or is cut off: {error}") from None
    if array.dtype.names is not None:
        return {name: array[name] for name in array.dtype.names}
    if array.dtype.kind not in "biuf":
        raise ValueError(f"the array holds {array.dtype}, not numbers")
    return array


def read_csv(path: Path) -> Any:
    """Columns by name where the first line has names, else rows of numbers. Separated by commas, semicolons or tabs."""
    try:
        text = path.read_text("utf-8-sig")
        separator = max(",;\t", key=text.partition("\n")[0].count)
        lines = [line for line in csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"this .csv file cannot be read: {error}") from None
    if not lines:
        raise ValueError("the file is empty")
    for place, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            raise ValueError(f"row {place} has {len(line)} cells, the first {len(lines[0])}")
    if all(is_number(cell) for cell in lines[0]):
        return [[number(cell) for cell in line] for line in lines]
    names = [name.strip() for name in lines[0]]
    if len(set(names)) < len(names):
        raise ValueError(f"two columns have the same name: {', '.join(names)}")
    if len(lines) == 1:
        raise ValueError("the file has a line of names, and no values")
    return dict(zip(names, zip(*lines[1:], strict=True), strict=True))


def is_number(cell: str) -> bool:
    """A number, or what stands for a missing one."""
    try:
        number(cell)
    except ValueError:
        return False
    return True
