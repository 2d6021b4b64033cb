"""Stretches of recordings, from a row's fields to a processor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import Row, Segment
from a2a_core.media import Medium, segment
from a2a_core.structures import ROUNDED

RECORDING = Medium("video", True, None, "start", "end")  # type: ignore[arg-type]


def row(**fields: Any) -> Row:
    return Row(fields, "0", Path(), "rows:0")


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_a_segment_lies_within_its_recording_or_is_refused(start: float, length: float, duration: float) -> None:
    wanted = Segment("x", start, start + length)
    try:
        first, last = wanted.within(duration)
    except ValueError:
        assert start >= duration or start + length > duration + ROUNDED
        return
    assert first == start < duration
    assert last == min(start + length, duration)


def test_without_an_end_it_goes_to_the_recordings() -> None:
    assert Segment("x", 2.0).within(5.0) == (2.0, 5.0)
    with pytest.raises(ValueError, match=r"from 5 s lies past the end of the recording, which lasts 5\.000 s"):
        Segment("x", 5.0).within(5.0)
    with pytest.raises(ValueError, match="from 1 s to 9 s reaches past"):
        Segment("x", 1.0, 9.0).within(5.0)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, "x"),
        ({"start": None, "end": None}, "x"),
        ({"start": 0}, Segment("x", 0.0, None)),
        ({"end": 1.5}, Segment("x", 0.0, 1.5)),
        ({"start": 1, "end": 2.5}, Segment("x", 1.0, 2.5)),
    ],
)
def test_fields_of_a_row(fields: dict[str, Any], wanted: Any) -> None:
    assert segment(row(**fields), RECORDING, "x") == wanted
    assert segment(row(**fields), RECORDING._replace(start="", end=""), "x") == "x"


@pytest.mark.parametrize("value", ["3", True, -1, math.nan, math.inf, [1]])
def test_what_is_no_second(value: Any) -> None:
    with pytest.raises(ValueError, match="`start` = .* is no number of seconds"):
        segment(row(start=value), RECORDING, "x")


@pytest.mark.parametrize("fields", [{"start": 2, "end": 2}, {"start": 3, "end": 2}, {"end": 0}])
def test_an_end_before_the_start(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="before it has begun"):
        segment(row(**fields), RECORDING, "x")
