from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_core.structures import BadRow, Row
from a2a_data.jsonl import JsonlSource
from a2a_streaming.jsonl import StreamingJsonlSource
from a2a_streaming.mix import StreamingMixSource
from a2a_streaming.mix_stream import steps

from .conftest import jsonl, read


def mixed(folder, sizes, weights=None, bad=(), **options):
    """Sources `a`, `b` … of so many rows each."""
    sources = {}
    for name, size in zip("abc", sizes, strict=False):
        file = folder / f"{name}.jsonl"
        file.write_bytes(b"[]\n" * (3 if name in bad else 0) + jsonl([{"id": number} for number in range(size)]))
        sources[name] = StreamingJsonlSource(path=str(file), shuffle=5)
    weights = dict(zip("abc", map(float, weights), strict=False)) if weights else {}
    return StreamingMixSource(sources=sources, weights=weights, **options)


def names(rows):
    return [row.id.split("/")[0] for row in rows if isinstance(row, Row)]


@pytest.mark.parametrize(
    ("sizes", "weights", "stop", "wanted"),
    [
        ((10, 10), (), "all", {"a": 10, "b": 10}),
        ((10, 3), (), "all", {"a": 10, "b": 3}),
        ((10, 10), (2, 1), "first", {"a": 10, "b": 5}),
        ((10, 10), (2, 1), "all", {"a": 20, "b": 10}),
        ((10, 3), (1, 1), "all", {"a": 10, "b": 10}),
        ((10, 3), (1, 0), "all", {"a": 10}),
        ((3, 7, 12), (0.1, 0.1, 0.2), "all", {"a": 7, "b": 7, "c": 15}),
    ],
)
def test_shares(tmp_path, sizes, weights, stop, wanted):
    stream = mixed(tmp_path, sizes, weights, stop=stop).build()
    found = names(read(stream, 1, seed=4)[0])
    assert Counter(found).keys() == wanted.keys()
    for name, several in wanted.items():
        assert abs(Counter(found)[name] - several) <= 1, "the row that finds a source at its end is the last"


def test_shares_are_exact_all_along(tmp_path):
    found = names(read(mixed(tmp_path, (50, 50, 50), (3, 2, 1), stop="first").build(), 1, seed=1)[0])
    for start in range(0, 60, 6):
        assert Counter(found[start : start + 6]) == {"a": 3, "b": 2, "c": 1}


def test_rows_say_where_they_are_from(tmp_path):
    stream = mixed(tmp_path, (2, 2), bad="b").build()
    assert [row.id for row in stream.first(3)] == ["a/0", "b/0", "a/1"]
    (rows,) = read(stream)
    (first, *_) = [row for row in rows if isinstance(row, BadRow)]
    assert (first.row.place, first.reason) == ("b: b.jsonl:1", "is no JSON object but list")
    assert {row.place for row in rows if isinstance(row, Row)} == {
        "a: a.jsonl:1",
        "a: a.jsonl:2",
        "b: b.jsonl:4",
        "b: b.jsonl:5",
    }
    assert stream.notes == ["`a`: one shard, a.jsonl", "`b`: one shard, b.jsonl"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_resumed_is_never_stopped(tmp_path, data):
    sizes = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=3).filter(any))
    weights = data.draw(st.none() | st.lists(st.integers(1, 4), min_size=len(sizes), max_size=len(sizes)))
    source = mixed(
        tmp_path,
        sizes,
        weights,
        bad=data.draw(st.sampled_from(["", "a", "ab"])),
        stop=data.draw(st.sampled_from(["all", "first"])),
    )
    lanes, seed = data.draw(st.integers(1, 4)), data.draw(st.none() | st.integers(0, 3))
    several = read(source.build(), lanes, seed, 2)
    good = Counter(row.id for rows in several for row in rows if isinstance(row, Row))
    if weights is None or len(sizes) == 1:
        assert set(good.values()) == {1}
    if weights is None or source.stop == "all":
        assert len(good) == sum(sizes), "all were read"
    lane = data.draw(st.integers(0, lanes - 1))
    stop = data.draw(st.integers(0, len(several[lane])))
    first = source.build().lane(lane, lanes, seed, 2, None)
    begun = iter(first)
    before = [next(begun) for _ in range(stop)]
    after = list(source.build().lane(lane, lanes, seed, 2, first.state()))
    assert before + after == several[lane]


@settings(deadline=None)
@given(weights=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=4))
def test_counting_is_exact(weights):
    exact = {str(number): Fraction(weight) for number, weight in enumerate(weights)}
    found = steps(exact)
    assert len({found[name] * weight for name, weight in exact.items()}) == 1


def test_what_comes_again_has_another_order(tmp_path):
    (rows,) = read(mixed(tmp_path, (40, 10), (1, 1)).build(), 1, seed=1)
    twice = [row.id for row in rows if row.id.startswith("b/")]
    assert sorted(twice[:10]) == sorted(twice[10:20])
    assert twice[:10] != twice[10:20]


def test_mistakes(tmp_path):
    stream = mixed(tmp_path, (2, 2)).sources["a"]
    with pytest.raises(ValueError, match="the source `x`, `jsonl`, does not stream"):
        StreamingMixSource(sources={"a": stream, "x": JsonlSource.tiny(tmp_path)})
    with pytest.raises(ValueError, match="`weights` says nothing about the source `b`"):
        StreamingMixSource(sources={"a": stream, "b": stream}, weights={"a": 1.0})
    other = StreamingJsonlSource(path=stream.path, lanes=3)
    with pytest.raises(A2AError, match="differ in their number of lanes: `a` 4, `b` 3"):
        StreamingMixSource(sources={"a": stream, "b": other}).build().lanes(4)
