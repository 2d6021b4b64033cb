"""What stands in a row's fields of an encoder: files, texts, bytes, and stretches of recordings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from a2a_core.structures import Medium, Row, Segment


def media_of(row: Row, medium: Medium) -> Sequence[Any]:
    """What stands in the row's field: nothing, one raw medium, or several where it is a list of files or texts."""
    raw = row.fields.get(medium.field)
    if isinstance(raw, (list, tuple)) and (medium.file or all(isinstance(each, str) for each in raw)):
        return [each for each in raw if each is not None]
    return [] if raw is None else [raw]


def given(row: Row, medium: Medium, raw: Any) -> Any:
    """What the processor is given of a medium; ValueError where the row names no stretch of it."""
    return segment(row, medium, file_of(row, raw) if medium.file and isinstance(raw, str) else raw)


def file_of(row: Row, name: str) -> Path:
    """Where a medium's file lies; ValueError where a row of another machine names one of this machine."""
    if Path(name).is_absolute() and not row.root.is_dir():
        raise ValueError(f"the row comes from {row.root}, and may not name a file of this machine: {name}")
    return row.root / name


def segment(row: Row, medium: Medium, raw: Any) -> Any:
    """The medium as it is, or the stretch of it that the row names."""
    start, end = second(row, medium.start), second(row, medium.end)
    if start is None and end is None:
        return raw
    if end is not None and end <= (start or 0.0):
        raise ValueError(f"the segment ends at {end:g} s, before it has begun at {start or 0.0:g} s")
    return Segment(raw, start or 0.0, end)


def second(row: Row, field: str) -> float | None:
    """A moment of a recording, from a field of the row."""
    value = row.fields.get(field) if field else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"`{field}` = {value!r} is no number of seconds")
    return float(value)
