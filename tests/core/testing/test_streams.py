"""A right stream passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from a2a_core import Row, SourceConfig
from a2a_core.streams import At, ShardLane


class Words:
    """Two shards of words."""

    shards = ("one two three", "four five")

    def __len__(self) -> int:
        return len(self.shards)

    def place(self, shard: int) -> str:
        return f"shard {shard}"

    def rows(self, shard: int, start: At | None, wanted: Callable[[int], bool]) -> Iterator[tuple[At, Row]]:
        for number, word in enumerate(self.shards[shard].split()):
            if wanted(number):
                yield At(number), Row({"text": word}, word, Path("/"), f"{shard}:{number}")


class Opened:
    """A stream of them."""

    notes = ()

    def lanes(self, wanted: int) -> int:
        return wanted

    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Any:
        return ShardLane(Words(), lane, lanes, seed, epoch, state, buffer=2)

    def first(self, several: int) -> list[Row]:
        return list(self.lane(0, 1, None, 0, None))[:several]


class Good(SourceConfig):
    """Words of two shards, read as they come."""

    name = "words"
    streams = True
    opened: ClassVar[type[Opened]] = Opened

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        return cls()

    def build(self) -> Any:
        return self.opened()


def test_a_right_stream_passes_every_check(judge: Any) -> None:
    assert judge(Good) == set()
    assert judge.skips(Good) == set()


class GivesAllToEachLane(Opened):
    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Any:
        return super().lane(0, 1, seed, epoch, state)


class DrawsAnew(Opened):
    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Any:
        return super().lane(lane, lanes, seed and random.getrandbits(30), epoch, state)


class Forgets(Opened):
    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Any:
        return super().lane(lane, lanes, seed, epoch, state and {**state, "held": []})


class StartsAnew(Opened):
    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Any:
        return super().lane(lane, lanes, seed, epoch, None)


class CannotBePickled(Opened):
    def __init__(self) -> None:
        self.key = lambda: None


class GivesTooFew(Opened):
    def first(self, several: int) -> list[Row]:
        return super().first(1)


@pytest.mark.parametrize(
    ("opened", "caught"),
    [
        (GivesAllToEachLane, {"every_row_once"}),
        (DrawsAnew, {"every_row_once", "the_same_lane_has_the_same_rows", "a_lane_goes_on_where_it_stood"}),
        (Forgets, {"a_lane_goes_on_where_it_stood"}),
        (StartsAnew, {"a_lane_goes_on_where_it_stood"}),
        (CannotBePickled, {"the_same_lane_has_the_same_rows"}),
        (GivesTooFew, {"first_rows_are_the_first"}),
    ],
)
def test_faults_are_caught(judge: Any, opened: type[Opened], caught: set[str]) -> None:
    class Bad(Good):
        """A stream with a fault."""

    Bad.opened = opened
    assert judge(Bad) == caught
