import json
import multiprocessing

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_data import index
from a2a_data.csv import CsvSource
from a2a_data.jsonl import JsonlSource
from a2a_data.mix import MixSource


def written(path, *ids):
    path.write_text("".join(json.dumps({"id": each, "n": n}) + "\n" for n, each in enumerate(ids)))
    return path


def failure(source):
    with pytest.raises(A2AError) as caught:
        source.build()
    return str(caught.value)


def test_two_rows_with_one_id_are_named(tmp_path):
    message = failure(JsonlSource(path=written(tmp_path / "a.jsonl", "x", "y", "x", "z", "x")))
    assert "two rows have the id `x`: a.jsonl:1 and a.jsonl:3" in message
    assert "a.jsonl:1 and a.jsonl:5" in message
    assert 'number the rows (`id = ""`)' in message


@pytest.mark.parametrize("ids", [(1, "1"), (True, "True"), ("a", None, "1"), (None, 0), ("\ud83d", "\ud83d")])
def test_ids_are_compared_as_they_are_shown(tmp_path, ids):
    message = failure(JsonlSource(path=written(tmp_path / "a.jsonl", *ids)))
    assert f"and a.jsonl:{len(ids)}" in message


def test_numbered_rows_have_no_equal_ids(tmp_path):
    rows = JsonlSource(path=written(tmp_path / "a.jsonl", "x", "x"), id="").build()
    assert [row.id for row in rows] == ["0", "1"]
    assert [row.fields["id"] for row in rows] == ["x", "x"]
    path = tmp_path / "a.csv"
    path.write_text("id,n\n1,2\n1,3\n")
    assert [row.id for row in CsvSource(path=path, id="").build()] == ["0", "1"]
    assert "a.csv:2 and a.csv:3" in failure(CsvSource(path=path))


def test_ids_are_compared_over_files_and_up_to_the_limit(tmp_path):
    written(tmp_path / "a.jsonl", "x", "y")
    written(tmp_path / "b.jsonl", "z", "y")
    assert "the id `y`: a.jsonl:2 and b.jsonl:2" in failure(JsonlSource(path=tmp_path))
    assert [row.id for row in JsonlSource(path=tmp_path, limit=3).build()] == ["x", "y", "z"], "the other `y` is not taken"
    assert "the id `y`" in failure(JsonlSource(path=tmp_path, limit=4))
    assert len(JsonlSource(path=tmp_path, limit=1).build()) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12), limit=st.integers(1, 13))
def test_equal_ids_are_those_among_the_rows_that_are_taken(tmp_path, ids, limit):
    source = JsonlSource(path=written(tmp_path / "a.jsonl", *ids), limit=limit)
    taken = ids[:limit]
    wanted = [f"a.jsonl:{taken.index(each) + 1} and a.jsonl:{n + 1}" for n, each in enumerate(taken) if each in taken[:n]]
    if not wanted:
        assert [row.id for row in source.build()] == taken
        return
    message = failure(source)
    assert all(each in message for each in wanted[: index.MOST_PROBLEMS])
    assert message.count("two rows") == min(len(wanted), index.MOST_PROBLEMS)


def test_another_column_is_another_question(tmp_path):
    path = written(tmp_path / "a.jsonl", "x", "x")
    assert len(JsonlSource(path=path, id="n").build()) == 2
    assert "the id `x`" in failure(JsonlSource(path=path))
    assert "the id `x`" in failure(JsonlSource(path=path))


def test_rows_of_several_sources_may_share_ids(tmp_path):
    sources = {name: JsonlSource(path=written(tmp_path / f"{name}.jsonl", "x", "y")) for name in "ab"}
    assert {row.id for row in MixSource(sources=sources).build()} == {"a/x", "a/y", "b/x", "b/y"}


def test_ids_are_compared_once(tmp_path, monkeypatch):
    path = written(tmp_path / "a.jsonl", *"abc")
    JsonlSource(path=path).build()
    monkeypatch.setattr(index, "compared", None)
    assert len(JsonlSource(path=path).build()) == 3
    assert len(JsonlSource(path=path, limit=2).build()) == 2


def test_what_was_learned_in_another_layout_is_learned_again(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"id": "x", "n": [1, 2]}) + "\n")
    assert len(JsonlSource(path=path, explode="n").build()) == 2
    calls = []
    for name in ("compared", "counted"):
        learn = getattr(index, name)
        monkeypatch.setattr(index, name, lambda *asked, learn=learn, name=name: calls.append(name) or learn(*asked))
    JsonlSource(path=path, explode="n").build()
    assert calls == []
    monkeypatch.setattr(index, "LAYOUT", "next")
    assert len(JsonlSource(path=path, explode="n").build()) == 2
    assert calls == ["compared", "counted"]


def test_equal_hashes_are_no_equal_ids(tmp_path, monkeypatch):
    monkeypatch.setattr(xxhash, "xxh3_64_intdigest", len)
    assert len(JsonlSource(path=written(tmp_path / "a.jsonl", "x", "y", "zz")).build()) == 3
    assert "the id `y`: b.jsonl:2 and b.jsonl:3" in failure(JsonlSource(path=written(tmp_path / "b.jsonl", "x", "y", "y")))


def test_at_most_a_few_are_named(tmp_path):
    assert failure(JsonlSource(path=written(tmp_path / "a.jsonl", *["x"] * 2000))).count("error:") == index.MOST_PROBLEMS


def test_a_cache_that_cannot_be_written_is_explained(tmp_path, monkeypatch):
    def full(path, _):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(index.np, "save", full)
    assert "cannot write the cache of the data" in failure(JsonlSource(path=written(tmp_path / "a.jsonl", "x")))


def test_ranks_open_the_same_rows_at_once(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": n, "x": [n] * (n % 3)}) + "\n" for n in range(3000)))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(size, [path] * 3, chunksize=1) == [3000] * 3


def size(path):
    return len(JsonlSource(path=path, explode="x").build())
