import json
import pickle
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_data.jsonl import JsonlSource
from a2a_data.mix import MixSource
from a2a_data.mix_rows import MixRows, quotas, tempered


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
        assert row.place == f"{row.fields['from']}: rows.jsonl:{row.fields['id'] + 1}"


def test_column_follows_the_order_of_the_rows(sources):
    rows = taken(sources, "ac", weights={"a": 1.0, "c": 1.0})[0]
    assert list(rows.column("from")) == [row.fields["from"] for row in rows]
    assert list(rows.column("c")) == [row.fields.get("c") for row in rows]
    with pytest.raises(KeyError) as caught:
        rows.column("x")
    assert "`a`: no row of rows.jsonl has a field `x`" in caught.value.args[0]


class Counted:
    """Rows that count the values of a column that were read."""

    def __init__(self, length):
        self.length, self.read = length, 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        raise NotImplementedError

    def column(self, field):
        def values():
            for number in range(self.length):
                self.read += 1
                yield number

        return values()


def test_a_column_is_read_as_it_is_asked_for():
    rows = {"a": Counted(1000), "b": Counted(500)}
    values = MixRows(rows, {}, "all", 0).column("x")
    assert rows["a"].read == rows["b"].read == 0
    assert [next(values) for _ in range(3)] == [0, 0, 1]
    assert rows["a"].read + rows["b"].read == 3, "one at a time"
    assert len(list(values)) == 1497
    assert (rows["a"].read, rows["b"].read) == (1000, 500)


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    weights=st.lists(st.integers(1, 4), min_size=3, max_size=3),
    seed=st.integers(0, 5),
)
def test_every_pass_reads_a_source_once(lengths, weights, seed):
    rows = {str(number): Counted(length) for number, length in enumerate(lengths)}
    shares = dict(zip(rows, map(float, weights), strict=False))
    mix = MixRows(rows, shares, "all", seed)
    assert list(mix.column("x")) == mix._index.tolist()
    for number, (name, each) in enumerate(rows.items()):
        taken = int((mix._which == number).sum())
        assert each.read <= len(each) * -(-taken // len(each)), f"{name}: no more than its passes"


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


@pytest.mark.parametrize(
    ("temperature", "stop", "wanted"),
    [
        (1.0, "all", {"a": 64, "b": 16, "c": 4}),
        (2.0, "all", {"a": 64, "b": 32, "c": 16}),
        (2.0, "first", {"a": 16, "b": 8, "c": 4}),
        (1e9, "all", {"a": 64, "b": 64, "c": 64}),
        (1e9, "first", {"a": 4, "b": 4, "c": 4}),
    ],
)
def test_a_temperature_makes_weights_of_lengths(tmp_path, temperature, stop, wanted):
    sources = {}
    for name, length in {"a": 64, "b": 16, "c": 4}.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"id": n, "from": name}) + "\n" for n in range(length)))
        sources[name] = JsonlSource(path=path)
    assert taken(sources, "abc", temperature=temperature, stop=stop)[1] == wanted


@given(
    lengths=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 500), min_size=1),
    temperature=st.floats(1, 100),
    stop=st.sampled_from(["all", "first"]),
)
def test_shares_are_those_of_the_formula_to_the_row(lengths, temperature, stop):
    rows = {name: range(length) for name, length in lengths.items()}
    found = quotas(lengths, tempered(rows, temperature), stop)
    powers = {name: length ** (1 / temperature) for name, length in lengths.items()}
    scale = (max if stop == "all" else min)(lengths[name] / powers[name] for name in lengths)
    assert all(abs(found[name] - scale * powers[name]) <= 0.5 + 1e-6 for name in lengths)
    if temperature == 1:
        assert found == lengths


def test_weights_and_temperature_together_are_an_error(sources):
    with pytest.raises(ValueError, match="`weights` and `temperature` both say"):
        MixSource(sources={"a": sources["a"]}, weights={"a": 1.0}, temperature=2.0)
    with pytest.raises(ValueError, match="`temperature` must be >= 1"):
        MixSource(sources={"a": sources["a"]}, temperature=0.5)


def test_ids_of_two_sources_cannot_meet(sources):
    with pytest.raises(ValueError, match="`a/b` has a `/`"):
        MixSource(sources={"a/b": sources["a"]})


def test_a_temperature_counts_samples_not_rows(tmp_path, sources):
    path = tmp_path / "lists.jsonl"
    path.write_text(json.dumps({"list": list(range(40)), "from": "list"}))
    rows, shares = taken(sources | {"list": JsonlSource(path=path, explode="list")}, ["a", "list"], temperature=2.0)
    assert shares == {"list": 40, "a": 20}
    assert {row.id for row in rows} >= {"list/0#0", "list/0#39", "a/0"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from("abc"), st.sets(st.sampled_from(["image", "sound", "text"])), min_size=1))
def test_a_modality_that_a_source_lacks_is_absent(tmp_path, fields):
    made = {}
    for name, has in fields.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({field: f"{n}.{field}" for field in has}) + "\n" for n in range(3)))
        made[name] = JsonlSource(path=path)
    rows = MixSource(sources=made).build()
    assert all(row.fields.keys() == fields[row.id.partition("/")[0]] for row in rows)
    for field in set().union(*fields.values()):
        assert list(rows.column(field)) == [row.fields.get(field) for row in rows]


def test_streams_are_mixed_elsewhere(sources):
    class Flowing(JsonlSource):
        streams = True

    with pytest.raises(ValueError, match="`f` come as a stream: mix them with `streaming-mix`"):
        MixSource(sources={**sources, "f": Flowing(path=sources["a"].path)})
