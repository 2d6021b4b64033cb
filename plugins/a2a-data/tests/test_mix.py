import json
import pickle
from collections import Counter

import pytest

from a2a_core.errors import A2AError
from a2a_data.jsonl import JsonlSource
from a2a_data.mix import MixSource


@pytest.fixture
def sources(tmp_path):
    found = {}
    for name, length in {"a": 10, "b": 10, "c": 3}.items():
        (tmp_path / name).mkdir()
        path = tmp_path / name / "rows.jsonl"
        path.write_text("\n".join(json.dumps({"id": n, "from": name, name: n}) for n in range(length)))
        found[name] = JsonlSource(path=path)
    return found


def taken(sources, names, **options):
    rows = MixSource(sources={name: sources[name] for name in names}, **options).build()
    return rows, Counter(row.fields["from"] for row in rows)


def test_without_weights_every_row_comes_once(sources):
    rows, shares = taken(sources, "ac")
    assert shares == {"a": 10, "c": 3}
    assert len({row.id for row in rows}) == len(rows) == 13
    assert {row.id for row in rows} >= {"a/0", "c/2"}


@pytest.mark.parametrize(
    ("weights", "stop", "wanted"),
    [
        ({"a": 2.0, "b": 1.0}, "all", {"a": 20, "b": 10}),
        ({"a": 2.0, "b": 1.0}, "first", {"a": 10, "b": 5}),
        ({"a": 0.5, "b": 0.5}, "all", {"a": 10, "b": 10}),
        ({"a": 0.3, "b": 0.7}, "first", {"a": 4, "b": 10}),
        ({"a": 1.0, "b": 0.0}, "all", {"a": 10}),
    ],
)
def test_weights_are_shares_of_the_rows(sources, weights, stop, wanted):
    rows, shares = taken(sources, "ab", weights=weights, stop=stop)
    assert shares == wanted
    times = Counter(row.id for row in rows)
    for name, quota in wanted.items():
        passes = [times[f"{name}/{n}"] for n in range(10)]
        assert sum(passes) == quota
        assert max(passes) - min(passes) <= 1


def test_three_sources_alternate_evenly(sources):
    rows, shares = taken(sources, "abc", weights={"a": 3.0, "b": 2.0, "c": 1.0})
    assert shares == {"a": 15, "b": 10, "c": 5}
    for start in range(0, 30, 6):
        part = Counter(rows[index].fields["from"] for index in range(start, start + 6))
        assert part == {"a": 3, "b": 2, "c": 1}
    assert [row.id for row in rows if row.fields["from"] == "a"][:10] == [f"a/{n}" for n in range(10)]


def test_the_order_is_a_function_of_the_options(sources):
    def order(**options):
        return [row.id for row in taken(sources, "ab", weights={"a": 3.0, "b": 2.0}, **options)[0]]

    assert order(seed=1) == order(seed=1)
    assert len({tuple(order(seed=seed)) for seed in range(5)}) > 1
    rows = taken(sources, "ab", weights={"a": 3.0, "b": 2.0})[0]
    assert list(pickle.loads(pickle.dumps(rows))) == list(rows)


def test_rows_keep_their_folder_and_place(sources):
    rows = taken(sources, "ac")[0]
    for row in rows:
        assert row.root.name == row.fields["from"]
        assert row.place == f"rows.jsonl:{row.fields['id'] + 1}"


def test_column_follows_the_order_of_the_rows(sources):
    rows = taken(sources, "ac", weights={"a": 1.0, "c": 1.0})[0]
    assert list(rows.column("from")) == [row.fields["from"] for row in rows]
    assert list(rows.column("c")) == [row.fields.get("c") for row in rows]
    with pytest.raises(KeyError) as caught:
        rows.column("x")
    assert "`a`: no row of rows.jsonl has a field `x`" in caught.value.args[0]


def test_a_mix_may_hold_a_mix(sources):
    inner = MixSource(sources={"b": sources["b"]})
    rows = MixSource(sources={"a": sources["a"], "inner": inner}).build()
    assert {row.id for row in rows} >= {"a/3", "inner/b/3"}
    assert len(rows) == 20


def test_indices_are_those_of_a_sequence(sources):
    rows = taken(sources, "ac")[0]
    assert rows[-1] == rows[len(rows) - 1]
    with pytest.raises(IndexError):
        rows[len(rows)]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0, "bb": 1.0}, "`weights` names `bb`, which is no source: did you mean `b`"),
        ({"a": 1.0}, "says nothing about the source `b`"),
        ({"a": 0.0, "b": 0.0}, "all `weights` are 0"),
        ({"a": 1.0, "b": -1.0}, "the weight of `b` must be a number >= 0"),
        ({"a": 1.0, "b": float("nan")}, "the weight of `b`"),
    ],
)
def test_wrong_weights_are_an_error(sources, weights, message):
    with pytest.raises(ValueError, match=message):
        MixSource(sources={"a": sources["a"], "b": sources["b"]}, weights=weights)
    with pytest.raises(ValueError, match="names no source"):
        MixSource(sources={})


def test_weights_that_leave_nothing_or_explode_are_an_error(sources):
    with pytest.raises(A2AError, match="`b` of the mix would have no row"):
        taken(sources, "ab", weights={"a": 1.0, "b": 0.001}, stop="first")
    with pytest.raises(A2AError, match="would be read 10000 times"):
        taken(sources, "ab", weights={"a": 10000.0, "b": 1.0})
