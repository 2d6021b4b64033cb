"""Values and timestamps, as numbers or as text, to arrays. ValueError says what is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

MISSING = {"", "na", "n/a", "nan", "null", "none", "-"}
"""Text without a value, whatever its case."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number(cell: str) -> float:
    """A cell of a text; NaN where there is no value."""
    return float("nan") if cell.strip().lower() in MISSING else float(cell)


def numbers(raw: Any, what: str) -> NDArray[Any]:
    """An array of numbers; None, and in text a cell without a value, becomes NaN."""
    if isinstance(raw, np.ndarray) and raw.dtype.kind in "biuf":
        return raw
    try:
        if isinstance(raw, tuple) and any(isinstance(each, str) for each in raw):
            raw = [number(each) for each in raw]
        return np.array(raw, np.float64)  # None becomes NaN
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{what} is no list of numbers: {error}") from None


def clock(raw: Any, unit: float) -> tuple[NDArray[Any], float]:
    """Timestamps as they stand, and their unit in seconds: large ones must be subtracted before they are scaled.

    Numbers have the unit that is given, dates (ISO 8601, without a zone UTC) microseconds.
    """
    if not isinstance(raw, (list, tuple, np.ndarray)):
        raise ValueError(f"timestamps are a list, not {type(raw).__name__}")
    text = raw.dtype.kind == "U" if isinstance(raw, np.ndarray) else any(isinstance(each, str) for each in raw)
    if text:
        return texts(raw, unit)
    try:
        times = np.asarray(raw)
    except ValueError as error:
        raise ValueError(f"the timestamps are no list of numbers: {error}") from None
    if times.ndim != 1 or (times.size and times.dtype.kind not in "iufM"):
        raise ValueError("timestamps must be a list of numbers or of ISO 8601 dates, none missing")
    if not np.isfinite(times).all():
        raise ValueError("a timestamp is missing or infinite")
    if times.dtype.kind == "M":
        return times.astype("datetime64[us]").astype(np.int64), 1e-6
    return times.astype(np.int64 if times.dtype.kind == "i" else np.float64), unit


def texts(raw: Any, unit: float) -> tuple[NDArray[Any], float]:
    """The same of text: whole numbers, numbers, or dates."""
    for kind in (np.int64, np.float64):
        try:
            return clock(np.array(raw).astype(kind), unit)
        except (TypeError, ValueError, OverflowError):
            continue
    return np.array([microseconds(each) for each in raw], np.int64), 1e-6


def microseconds(raw: Any) -> int:
    """A date, in microseconds since 1970."""
    try:
        moment = datetime.fromisoformat(raw)
    except (TypeError, ValueError):
        raise ValueError(f"{raw!r} is no timestamp: neither a number nor an ISO 8601 date") from None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)
