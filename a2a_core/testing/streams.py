"""Invariants of sources that stream."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from a2a_core.streams import Stream
from a2a_core.structures import BadRow, Row
from a2a_core.testing.check import attempt, expect, fail
from a2a_core.testing.sources import TINY, SourceSubject, fields_are_plain, rows_are_well_formed

LANES, SEEDS = (1, 2, 3, 7), (None, 1)


class StreamSubject(SourceSubject):
    """A source that streams, and its rows in one lane, as they are stored."""

    @cached_property
    def stream(self) -> Stream:
        """Opened once."""
        with attempt("build() of what `tiny(folder)` gives", remedy=f"give the class\n{TINY}"):
            built = self.config.build()
        expect(isinstance(built, Stream), f"build() gives {type(built).__name__}", remedy="return a stream (a2a_core.streams)")
        return built  # type: ignore[return-value]

    @cached_property
    def rows(self) -> Any:
        """All of them."""
        rows = self.read(self.stream, 0, 1, None)
        bad = [row for row in rows if isinstance(row, BadRow)]
        expect(not bad, f"a row of `{self.cls.__name__}.tiny(folder)` is bad", bad[0].reason if bad else "")
        if len(rows) < 2:
            text = f"`{self.cls.__name__}.tiny(folder)` has {len(rows)} rows; at least two are compared"
            fail(text, remedy=f"give the class\n{TINY}")
        return rows

    def read(
        self, stream: Stream, lane: int, lanes: int, seed: int | None, state: Mapping[str, Any] | None = None
    ) -> list[Row | BadRow]:
        """The rest of a lane."""
        with attempt(f"reading lane {lane} of {lanes}, with seed {seed}"):
            return list(stream.lane(lane, lanes, seed, 0, state))


def every_row_once(subject: StreamSubject) -> None:
    """All lanes of an epoch together give every row once, whatever number of lanes there is, with a seed and without."""
    wanted = Counter(row.id for row in subject.rows)
    for several in LANES:
        lanes = subject.stream.lanes(several)
        for seed in SEEDS:
            found = Counter(row.id for lane in range(lanes) for row in rows_of(subject, lane, lanes, seed))
            expect(
                found == wanted,
                f"{lanes} lanes with seed {seed} give other rows than one lane",
                f"too many: {dict(found - wanted)}, too few: {dict(wanted - found)}"[:400],
                "lanes that overlap, or rows that none of them has",
                "deal them out with a2a_core.streams.deal",
            )


def the_same_lane_has_the_same_rows(subject: StreamSubject) -> None:
    """A lane has the same rows in the same order whenever it is read, also when the source is opened again or was pickled."""
    with attempt("build(), a second time"):
        again = subject.config.build()
    with attempt("pickling the stream", "an open file or a lock", "open files when a lane is read, and drop them afterwards"):
        copy = pickle.loads(pickle.dumps(subject.stream))
    for seed in SEEDS:
        wanted = subject.read(subject.stream, 0, 1, seed)
        for what, stream in (("read again", subject.stream), ("opened again", again), ("pickled", copy)):
            expect(
                subject.read(stream, 0, 1, seed) == wanted,  # type: ignore[arg-type]
                f"a lane with seed {seed}, {what}, has other rows, or another order",
                because="a global source of random numbers",
                remedy="make the order a function of seed, epoch and lane",
            )


def a_lane_goes_on_where_it_stood(subject: StreamSubject) -> None:
    """Stopped after any row and opened again with its state, as JSON, a lane gives the rows that it had not given yet."""
    for seed in SEEDS:
        whole = subject.read(subject.stream, 0, 1, seed)
        for stop in range(len(whole) + 1):
            lane = subject.stream.lane(0, 1, seed, 0, None)
            rows = iter(lane)
            before = [next(rows) for _ in range(stop)]
            with attempt("state(), as JSON", remedy="numbers, texts and lists alone"):
                state = json.loads(json.dumps(lane.state()))
            after = subject.read(subject.stream, 0, 1, seed, state)
            expect(
                before + after == whole,
                f"stopped after {stop} rows (seed {seed}), a lane goes on with other rows",
                f"{[place(row) for row in after]} against {[place(row) for row in whole[stop:]]}"[:400],
                "a state that is ahead of what was given: rows in a buffer, or read ahead",
                "state() says where the rows given so far end",
            )


def first_rows_are_the_first(subject: StreamSubject) -> None:
    """first(several) gives so many good rows, or all that there are, and changes nothing."""
    for several in (1, len(subject.rows), len(subject.rows) + 5):
        with attempt(f"first({several})"):
            found = subject.stream.first(several)
        wanted = min(several, len(subject.rows))
        good = len(found) == wanted and all(row in subject.rows for row in found)
        expect(good, f"first({several}) of {len(subject.rows)} rows gives {len(found)}", str(found)[:300])


def rows_of(subject: StreamSubject, lane: int, lanes: int, seed: int | None) -> list[Row]:
    """A lane's, without those that are bad."""
    return [row for row in subject.read(subject.stream, lane, lanes, seed) if isinstance(row, Row)]


def place(row: Row | BadRow) -> str:
    """For messages."""
    return row.place if isinstance(row, Row) else row.row.place


CHECKS = (
    rows_are_well_formed,
    fields_are_plain,
    every_row_once,
    the_same_lane_has_the_same_rows,
    a_lane_goes_on_where_it_stood,
    first_rows_are_the_first,
)
