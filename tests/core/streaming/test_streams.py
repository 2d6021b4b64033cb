import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import A2AError, Row
from a2a_core.streams import At, Piece, ShardLane, deal
from a2a_core.structures import BadRow


class Lists:
    """Shards of so many rows each; counts which rows were decoded."""

    def __init__(self, *sizes: int, broken: dict[int, int] | None = None) -> None:
        self.sizes, self.broken = sizes, broken or {}
        self.decoded: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.sizes)

    def place(self, shard: int) -> str:
        return f"shard-{shard}"

    def rows(self, shard: int, start: At | None, wanted: Callable[[int], bool]) -> Iterator[tuple[At, Row | BadRow]]:
        for number in range(0 if start is None else start.number, self.sizes[shard] + 1):
            if self.broken.get(shard) == number:
                raise OSError("half a body")
            if number < self.sizes[shard] and wanted(number):
                self.decoded.append((shard, number))
                yield At(number, 10 * number), row(shard, number)


def row(shard: int, number: int) -> Row:
    return Row({"n": number}, f"{shard}/{number}", Path("/"), f"shard-{shard}:{number}")


def lane(shards: Lists, number: int = 0, lanes: int = 1, epoch: int = 0, state: object = None, buffer: int = 4) -> ShardLane:
    return ShardLane(shards, number, lanes, 7, epoch, json.loads(json.dumps(state)), buffer)


def ids(rows: Iterator[Row | BadRow]) -> list[str]:
    return [each.id if isinstance(each, Row) else each.row.id for each in rows]


SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_lanes_get_equal_parts_of_all_shards(shards: int, lanes: int, epoch: int) -> None:
    dealt = [deal(shards, each, lanes, 3, epoch) for each in range(lanes)]
    taken = Counter((piece.shard, n) for piece in chain(*dealt) for n in range(lanes) if piece.takes(n))
    assert taken == {(shard, n): 1 for shard in range(shards) for n in range(lanes)}
    assert {sum(piece.takes(n) for piece in pieces for n in range(lanes)) for pieces in dealt} == {shards}


@given(SIZES, st.integers(1, 7), st.integers(1, 9))
def test_lanes_together_give_every_row_once(sizes: list[int], lanes: int, buffer: int) -> None:
    shards = Lists(*sizes)
    found = [ids(iter(lane(shards, each, lanes, buffer=buffer))) for each in range(lanes)]
    assert sorted(chain(*found)) == sorted(row(shard, n).id for shard, size in enumerate(sizes) for n in range(size))
    assert len(shards.decoded) == sum(sizes), "no lane decodes the rows of another"


@given(SIZES, st.integers(1, 4), st.integers(1, 9), st.integers(0, 40))
def test_a_lane_goes_on_as_if_it_had_never_stopped(sizes: list[int], lanes: int, buffer: int, stop: int) -> None:
    whole = ids(iter(lane(Lists(*sizes), 0, lanes, buffer=buffer)))
    before = lane(Lists(*sizes), 0, lanes, buffer=buffer)
    first = ids(islice(before, min(stop, len(whole))))
    assert first + ids(iter(lane(Lists(*sizes), 0, lanes, state=before.state(), buffer=buffer))) == whole


def test_what_is_behind_is_not_read_again() -> None:
    shards = Lists(1000, 1000)
    before = lane(shards, buffer=4)
    list(islice(before, 1500))
    shards.decoded.clear()
    state = before.state()
    assert len(json.dumps(state)) < 200
    next(iter(lane(shards, state=state, buffer=4)))
    assert len(shards.decoded) == 4, "the three held and one more"


def test_epochs_and_seeds_have_their_own_order_and_none_is_the_stored_one() -> None:
    shards = Lists(*[5] * 8)
    orders = {tuple(ids(iter(lane(shards, epoch=epoch)))) for epoch in range(4)}
    assert len(orders) == 4
    assert orders == {tuple(ids(iter(lane(shards, epoch=epoch)))) for epoch in range(4)}
    stored = ids(iter(ShardLane(shards, 0, 1, None, 3, None, 100)))
    assert stored == [row(shard, n).id for shard in range(8) for n in range(5)]


@given(st.integers(0, 14))
def test_a_shard_that_breaks_is_one_bad_row_and_reading_goes_on(stop: int) -> None:
    sizes, broken = (4, 4, 4), {1: 2}
    whole = list(lane(Lists(*sizes, broken=broken)))
    bad = [each for each in whole if isinstance(each, BadRow)]
    assert [(each.row.place, each.reason) for each in bad] == [("shard-1", "half a body")]
    assert sorted(ids(each for each in whole if isinstance(each, Row))) == sorted(
        row(shard, n).id for shard in range(3) for n in range(4) if (shard, n) not in ((1, 2), (1, 3))
    )
    before = lane(Lists(*sizes, broken=broken))
    first = ids(islice(before, min(stop, len(whole))))
    assert first + ids(iter(lane(Lists(*sizes, broken=broken), state=before.state()))) == ids(iter(whole))


def test_a_held_row_that_is_gone_is_bad() -> None:
    before = lane(Lists(4))
    next(iter(before))
    after = list(lane(Lists(4, broken={0: 0}), state=before.state()))
    assert {type(each) for each in after} == {BadRow}
    assert len(after) == 3
    assert all(str(each).count("half a body") for each in after)


def test_other_shards_than_before_are_an_error() -> None:
    state = lane(Lists(4, 4)).state()
    with pytest.raises(A2AError, match="has 3 shards, and had 2"):
        lane(Lists(4, 4, 4), state=state)


def test_a_piece_of_a_whole_shard_takes_all() -> None:
    assert all(Piece(3).takes(number) for number in range(10))
