import json
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import A2AError, Row
from a2a_core.streams import First, Piece, ShardLane, Stream, deal, looked_at
from a2a_core.structures import BadRow

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


def lane(shards: Any, number: int = 0, lanes: int = 1, epoch: int = 0, state: object = None, buffer: int = 4) -> ShardLane:
    return ShardLane(shards, number, lanes, 7, epoch, json.loads(json.dumps(state)), buffer)


def ids(rows: Iterable[Row | BadRow]) -> list[str]:
    return [each.id if isinstance(each, Row) else each.row.id for each in rows]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 3))
def test_lanes_get_equal_parts_of_all_shards(shards: int, lanes: int, epoch: int) -> None:
    dealt = [deal(shards, each, lanes, 3, epoch) for each in range(lanes)]
    taken = Counter((piece.shard, n) for piece in chain(*dealt) for n in range(lanes) if piece.takes(n))
    assert taken == {(shard, n): 1 for shard in range(shards) for n in range(lanes)}
    assert {sum(piece.takes(n) for piece in pieces for n in range(lanes)) for pieces in dealt} == {shards}


@given(SIZES, st.integers(1, 7), st.integers(1, 9))
def test_lanes_together_give_every_row_once(shelf: Any, sizes: list[int], lanes: int, buffer: int) -> None:
    shards = shelf(*sizes)
    found = [ids(lane(shards, each, lanes, buffer=buffer)) for each in range(lanes)]
    assert sorted(chain(*found)) == sorted(f"{shard}/{n}" for shard, size in enumerate(sizes) for n in range(size))
    assert len(shards.decoded) == sum(sizes), "no lane decodes the rows of another"


@given(SIZES, st.integers(1, 4), st.integers(1, 9), st.integers(0, 40))
def test_a_lane_goes_on_as_if_it_had_never_stopped(shelf: Any, sizes: list[int], lanes: int, buffer: int, stop: int) -> None:
    whole = ids(lane(shelf(*sizes), 0, lanes, buffer=buffer))
    before = lane(shelf(*sizes), 0, lanes, buffer=buffer)
    first = ids(islice(before, min(stop, len(whole))))
    assert first + ids(lane(shelf(*sizes), 0, lanes, state=before.state(), buffer=buffer)) == whole


def test_what_is_behind_is_not_read_again(shelf: Any) -> None:
    shards = shelf(1000, 1000)
    before = lane(shards, buffer=4)
    list(islice(before, 1500))
    shards.decoded.clear()
    state = before.state()
    assert len(json.dumps(state)) < 200
    next(iter(lane(shards, state=state, buffer=4)))
    assert len(shards.decoded) == 4, "the three held and one more"


def test_epochs_and_seeds_have_their_own_order_and_none_is_the_stored_one(shelf: Any) -> None:
    shards = shelf(*[5] * 8)
    orders = {tuple(ids(lane(shards, epoch=epoch))) for epoch in range(4)}
    assert len(orders) == 4
    assert orders == {tuple(ids(lane(shards, epoch=epoch))) for epoch in range(4)}
    stored = ids(ShardLane(shards, 0, 1, None, 3, None, 100))
    assert stored == [f"{shard}/{n}" for shard in range(8) for n in range(5)]


@given(st.integers(0, 14))
def test_a_shard_that_breaks_is_one_bad_row_and_reading_goes_on(shelf: Any, stop: int) -> None:
    shards = shelf(4, 4, 4, broken={1: 2})
    whole = list(lane(shards))
    bad = [each for each in whole if isinstance(each, BadRow)]
    assert [(each.row.place, each.reason) for each in bad] == [("shard-1", "half a body")]
    there = [(shard, n) for shard in range(3) for n in range(4) if (shard, n) not in ((1, 2), (1, 3))]
    assert sorted(ids(each for each in whole if isinstance(each, Row))) == [f"{shard}/{n}" for shard, n in there]
    before = lane(shards)
    first = ids(islice(before, min(stop, len(whole))))
    assert first + ids(lane(shards, state=before.state())) == ids(whole)


def test_a_held_row_that_is_gone_is_bad(shelf: Any) -> None:
    before = lane(shelf(4))
    next(iter(before))
    after = list(lane(shelf(4, broken={0: 0}), state=before.state()))
    assert [(type(each), "half a body" in str(each)) for each in after] == [(BadRow, True)] * 3


def test_other_shards_than_before_are_an_error(shelf: Any) -> None:
    state = lane(shelf(4, 4)).state()
    with pytest.raises(A2AError, match="has 3 shards, and had 2"):
        lane(shelf(4, 4, 4), state=state)


def test_a_piece_of_a_whole_shard_takes_all() -> None:
    assert all(Piece(3).takes(number) for number in range(10))


def test_the_first_rows_are_looked_at_in_place_of_all(stream: Callable[..., Any]) -> None:
    rows = looked_at(stream(3, 2))
    assert isinstance(rows, First)
    assert [rows[index].id for index in range(len(rows))] == ["0/0", "0/1", "0/2", "1/0", "1/1"]
    assert rows.column("right") == [[0.0]] * 3 + [[1.0]] * 2
    with pytest.raises(KeyError, match="none of the first 5 rows of the stream has it; there is `left`, `right`, `value`"):
        rows.column("lefft")
    with pytest.raises(A2AError, match="no rows"):
        looked_at(stream(0))
    assert isinstance(stream(1), Stream)
