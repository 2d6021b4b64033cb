"""Streams in turn, by weight: which one comes next is counted, not drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain, islice, zip_longest
from math import lcm
from typing import Any

from a2a_core.errors import A2AError
from a2a_core.streams import Lane, Stream
from a2a_core.structures import BadRow, Row

PASS = 1 << 32
"""What a stream's second time in an epoch adds to the epoch's number, so that its order is another one."""


class MixStream:
    """See a2a_core.streams.Stream."""

    def __init__(self, streams: Mapping[str, Stream], weights: Mapping[str, float], stop: str) -> None:
        self.streams, self.stop = dict(streams), stop if weights else "each"
        self.steps = steps({name: Fraction(weights[name]) if weights else Fraction(1) for name in streams})

    @property
    def notes(self) -> list[str]:
        """Those of the streams."""
        return [f"`{name}`: {note}" for name, stream in self.streams.items() for note in stream.notes]

    def lanes(self, wanted: int) -> int:
        """As many as every stream can be dealt out in; A2AError where they disagree."""
        found = {name: stream.lanes(wanted) for name, stream in self.streams.items()}
        if len({*found.values()}) > 1:
            several = ", ".join(f"`{name}` {count}" for name, count in found.items())
            raise A2AError(
                f"the sources of the mix differ in their number of lanes: {several}", hint="set `lanes` of each alike"
            )
        return next(iter(found.values()))

    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Lane:
        """The streams' lanes of this number, mixed."""
        return MixLane(self, lane, lanes, seed, epoch, state)

    def first(self, several: int) -> list[Row]:
        """Of every stream its first, in turn."""
        firsts = [[named(name, row) for row in stream.first(several)] for name, stream in self.streams.items()]
        return list(islice((row for row in chain(*zip_longest(*firsts)) if row is not None), several))


class MixLane:
    """See a2a_core.streams.Lane. A stream's j-th row is due at (j + 1/2) / weight; the one that is due first comes next."""

    def __init__(
        self, mix: MixStream, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None
    ) -> None:
        self.mix, self.opening, self.epoch = mix, (lane, lanes, seed), epoch
        names = list(mix.streams)
        state = state or {}
        self.given: dict[str, int] = dict(state.get("given", dict.fromkeys(names, 0)))
        """Rows of each stream so far."""
        self.ended: dict[str, int] = dict(state.get("ended", dict.fromkeys(names, 0)))
        """How often each was read to its end."""
        self.before: dict[str, int] = dict(state.get("before", self.given))
        """Rows of each stream when it was begun last."""
        self.live: list[str] = list(state.get("live", names))
        self.opened = {name: self.open(name, at) for name, at in state.get("lanes", dict.fromkeys(names)).items()}

    def open(self, name: str, state: Mapping[str, Any] | None = None) -> Lane:
        """A stream's lane, from the beginning of its pass or from a state."""
        return self.mix.streams[name].lane(*self.opening, self.epoch + PASS * self.ended[name], state)

    def state(self) -> dict[str, Any]:
        """See Lane.state."""
        lanes = {name: self.opened[name].state() for name in self.live}
        return {**{key: getattr(self, key).copy() for key in ("given", "ended", "before", "live")}, "lanes": lanes}

    def __iter__(self) -> Iterator[Row | BadRow]:
        reading = {name: iter(self.opened[name]) for name in self.live}
        while self.live:
            name = min(self.live, key=lambda each: (2 * self.given[each] + 1) * self.mix.steps[each])
            found = next(reading[name], None)
            if found is not None:
                self.given[name] += isinstance(found, Row)
                yield named(name, found)
                continue
            self.ended[name] += 1
            if self.mix.stop == "first" or (self.mix.stop == "all" and all(self.ended[each] for each in self.live)):
                self.live.clear()
            elif self.mix.stop == "each" or self.given[name] == self.before[name]:  # nothing of it is in this lane
                self.live.remove(name)
            else:
                self.before[name] = self.given[name]
                self.opened[name] = self.open(name)
                reading[name] = iter(self.opened[name])


def named(name: str, row: Any) -> Any:
    """With the stream that it comes from."""
    if isinstance(row, BadRow):
        return row._replace(row=named(name, row.row))
    return row._replace(id=f"{name}/{row.id}", place=f"{name}: {row.place}")


def steps(weights: Mapping[str, Fraction]) -> dict[str, int]:
    """1 / weight as whole numbers, all by the same factor: counting with them is exact."""
    together = lcm(*(weight.numerator for weight in weights.values()))
    return {name: int(together / weight) for name, weight in weights.items()}
