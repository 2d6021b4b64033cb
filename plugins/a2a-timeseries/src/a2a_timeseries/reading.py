"""A series, whatever its form, to tracks: the values of one channel at their times. ValueError says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from a2a_timeseries.cells import clock, numbers
from a2a_timeseries.files import read_file

Floats: TypeAlias = NDArray[np.float64]
VALUES = "values"
TICK = 1e-3
"""Fraction of a step that counts as rounding: in seconds since 1970, float64 is exact to 2.4e-7 s."""
FARTHEST = 2**40
"""Steps from the first timestamp up to which float64 can tell such a fraction."""


class Layout(NamedTuple):
    """What the recipe says of the series."""

    channels: int
    names: tuple[str, ...] | None
    sample_rate: float
    time: str
    time_unit: float
    files: bool
    """The media are files, else values."""


class Observations(NamedTuple):
    """What was measured, M times: the second, the channel and the finite value of each, by channel and second."""

    seconds: Floats
    channels: NDArray[np.int64]
    values: Floats


class Track(NamedTuple):
    """One channel: values, NaN where missing, and their times; None: a step after another."""

    channel: int
    times: Any
    values: NDArray[Any]

    def between(self, start: float, end: float, rate: float) -> tuple[Floats, Floats]:
        """Seconds from `start`, and values, at start <= second < end. Without times nothing else is read."""
        if self.times is None:
            first, last = (min(ceil(second * rate - TICK), len(self.values)) for second in (start, end))
            return np.arange(first, last) / rate - start, np.asarray(self.values[first:last], np.float64)
        inside = (self.times >= start - TICK / rate) & (self.times < end - TICK / rate)
        seconds, values = self.times[inside] - start, np.asarray(self.values[inside], np.float64)
        if (np.diff(seconds) <= 0).any():  # the order of a file's lines changes nothing, not by a bit
            order = np.lexsort((values, seconds))
            seconds, values = seconds[order], values[order]
        return seconds, values


class Recording(NamedTuple):
    """Tracks in seconds from the first timestamp of all; it lasts until one step after the last."""

    tracks: Sequence[Track]
    duration: float
    rate: float

    def between(self, start: float, end: float) -> Observations:
        """What was measured at start <= second < end, in seconds from `start`; ValueError for nothing, or for infinity."""
        cut = [(track.channel, *track.between(start, end, self.rate)) for track in self.tracks]
        channels = np.concatenate([np.full(len(values), channel) for channel, _, values in cut])
        seconds, values = (np.concatenate(each) for each in list(zip(*cut, strict=True))[1:])
        real = ~np.isnan(values)
        if not real.any():
            raise ValueError(f"the series has no value from {start:g} s to {end:g} s")
        if np.isinf(values).any():
            raise ValueError("the series has values that are infinite")
        return Observations(seconds[real], channels[real], values[real])


def read_series(raw: Any, layout: Layout) -> Recording:
    """The recording of a file, or of a row's values; see SeriesEncoder for their forms."""
    if isinstance(raw, (str, Path)) != layout.files:
        other, kind = ("value", "a path") if layout.files else ("file", "values")
        raise ValueError(f'a series is {kind} here, not {type(raw).__name__}: set `reads = "{other}"` if it is meant')
    if layout.files:
        raw = read_file(Path(raw))
    return recording(list(tracks(raw, layout)), layout)


def tracks(raw: Any, layout: Layout) -> Iterator[Track]:
    """Every channel that is there."""
    if not isinstance(raw, Mapping):
        yield from matrix(raw, None, layout)
        return
    times = raw.get(layout.time)
    if VALUES in raw and VALUES not in (layout.names or ()):
        inner = raw[VALUES]
        yield from table(inner, times, layout) if isinstance(inner, Mapping) else matrix(inner, times, layout)
    else:
        yield from table({name: column for name, column in raw.items() if name != layout.time}, times, layout)


def matrix(raw: Any, times: Any, layout: Layout) -> Iterator[Track]:
    """Steps (n,) or (n, channels)."""
    values = numbers(raw, "the series")
    if not values.size:
        raise ValueError("the series is empty")
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != layout.channels:
        found = f"{values.shape[1]} values a step" if values.ndim == 2 else f"the shape {values.shape}"
        raise ValueError(f"the series has {found}; `channels` asks for {layout.channels}")
    for channel in range(layout.channels):
        yield Track(channel, times, values[:, channel])


def table(columns: Mapping[str, Any], times: Any, layout: Layout) -> Iterator[Track]:
    """Channels by name, None for one that has no value; each may have times of its own."""
    names = layout.names or tuple(columns)
    if (layout.names is None and len(names) != 1) or len(names) != layout.channels:
        raise ValueError(f"the series has columns with names ({', '.join(map(str, columns))}): name those in `channels`")
    if missing := [name for name in names if name not in columns]:
        there = ", ".join(map(str, columns)) or "none"
        raise ValueError(f"the series has no column `{missing[0]}`, but {there}; null is a channel without a value")
    for channel, name in enumerate(names):
        column, own = columns[name], times
        if isinstance(column, Mapping):
            if not {layout.time, VALUES} <= column.keys():
                raise ValueError(f"channel `{name}` as a table needs `{layout.time}` and `{VALUES}`, not {sorted(column)}")
            column, own = column[VALUES], column[layout.time]
        if column is None:
            continue
        values = numbers(column, f"channel `{name}`")
        if values.ndim != 1:
            raise ValueError(f"channel `{name}` must be a list of numbers, not of the shape {values.shape}")
        yield Track(channel, own, values)


def recording(found: Sequence[Track], layout: Layout) -> Recording:
    """Tracks in seconds from the first timestamp of all, and how long they last."""
    if not any(len(track.values) for track in found):
        raise ValueError("the series is empty")
    if len({track.times is None for track in found}) > 1:
        raise ValueError("some channels have timestamps and others have none")
    if found[0].times is not None:
        found = timed(found, layout)
        last = max(track.times.max(initial=0) for track in found) * layout.sample_rate
    else:
        lengths = {len(track.values) for track in found}
        if len(lengths) > 1:
            raise ValueError(f"channels without timestamps have different lengths: {sorted(lengths)}")
        last = lengths.pop() - 1
    return Recording(found, (round(last / TICK) * TICK + 1) / layout.sample_rate, layout.sample_rate)


def timed(found: Sequence[Track], layout: Layout) -> list[Track]:
    """Tracks with timestamps of any kind, with seconds from the first of them."""
    clocks = {id(track.times): clock(track.times, layout.time_unit) for track in found}
    if len({unit for _, unit in clocks.values()}) > 1:
        raise ValueError("some timestamps are dates and others are numbers")
    for track in found:
        if len(track.times) != len(track.values):
            raise ValueError(f"the series has {len(track.times)} timestamps for {len(track.values)} steps")
    origin = min(times.min() for times, _ in clocks.values() if times.size)
    done = []
    for track in found:
        times, unit = clocks[id(track.times)]
        seconds = (times - origin).astype(np.float64) * unit
        if ((seconds < 0) | (seconds * layout.sample_rate > FARTHEST)).any():  # negative: integers that wrapped around
            raise ValueError("the timestamps are too far apart; is `time_unit` right?")
        done.append(track._replace(times=seconds))
    return done
