"""What holds for every format."""

import pickle
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_core.structures import BadRow, Row
from a2a_streaming.jsonl import StreamingJsonlSource
from a2a_streaming.parquet import StreamingParquetSource
from a2a_streaming.webdataset import WebDatasetSource

from .conftest import jsonl, parquet, read, tar


def as_tar(rows):
    return tar([(str(row["id"]), {"json": jsonl([row]), "bin": b"x" * (row["id"] % 700)}) for row in rows])


FORMATS = {
    "tar": (WebDatasetSource, as_tar),
    "jsonl": (StreamingJsonlSource, jsonl),
    "parquet": (StreamingParquetSource, parquet),
}
each_kind = pytest.mark.parametrize("kind", FORMATS)


def written(folder, kind, sizes, **options):
    """Shards of so many rows, numbered through."""
    source, made = FORMATS[kind]
    number = 0
    for shard, size in enumerate(sizes):
        rows = [{"id": number + each, "text": "a" * (each % 7)} for each in range(size)]
        (folder / f"{shard:03}.{kind}").write_bytes(made(rows))
        number += size
    return source(path=[f"{folder}/{shard:03}.{kind}" for shard in range(len(sizes))], **options)


def ids(rows):
    rows = list(rows)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.id for row in rows]


@each_kind
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_row_once_and_resumed_is_never_stopped(tmp_path, asked, kind, data):
    sizes = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any))
    lanes, seed = data.draw(st.integers(1, 7)), data.draw(st.none() | st.integers(0, 9))
    source = written(tmp_path, kind, sizes, shuffle=data.draw(st.integers(0, 30)))
    several = [ids(rows) for rows in read(source.build(), lanes, seed, 3)]
    assert Counter(row for rows in several for row in rows) == Counter(map(str, range(sum(sizes))))
    lane = data.draw(st.integers(0, lanes - 1))
    stop = data.draw(st.integers(0, len(several[lane])))
    first = source.build().lane(lane, lanes, seed, 3, None)
    begun = iter(first)
    before = [next(begun).id for _ in range(stop)]
    state = first.state()
    after = ids(pickle.loads(pickle.dumps(source.build())).lane(lane, lanes, seed, 3, state))
    assert before + after == several[lane]


@each_kind
def test_epochs_and_seeds_have_orders_of_their_own(tmp_path, kind):
    stream = written(tmp_path, kind, [10, 10]).build()
    orders = {tuple(ids(read(stream, 1, seed, epoch)[0])) for seed in (1, 2) for epoch in (0, 1)}
    assert len(orders) == 4
    assert ids(read(stream)[0]) == list(map(str, range(20))), "without a seed as they are stored"


@each_kind
def test_going_on_reads_nothing_that_is_behind(tmp_path, asked, kind):
    """Of a file of 2 MB: the block that holds the next row, and the index of Parquet."""
    source, made = FORMATS[kind]
    (tmp_path / f"a.{kind}").write_bytes(made([{"id": number, "text": str(hash(str(number))) * 40} for number in range(3000)]))
    stream = source(path=str(tmp_path / f"a.{kind}")).build()
    lane = stream.lane(0, 1, None, 0, None)
    rows = iter(lane)
    for _ in range(2900):
        next(rows)
    state = lane.state()
    asked.clear()
    assert next(iter(stream.lane(0, 1, None, 0, state))).id == "2900"
    size = (tmp_path / f"a.{kind}").stat().st_size
    assert len(str(state)) < 200
    if kind == "parquet":  # with its index; one group may follow another in one piece
        assert sum(end - start for _, start, end in asked) < 0.6 * size
    else:
        assert min(start for _, start, _ in asked) > 0.9 * size


@each_kind
def test_columns_ids_places_and_limits(tmp_path, kind):
    stream = written(tmp_path, kind, [2, 3], columns={"caption": "text"}, id="", limit=3).build()
    (rows,) = read(stream)
    assert [sorted({"id", "caption"} & row.fields.keys()) for row in rows] == [["caption", "id"]] * 3
    assert not any("text" in row.fields for row in rows)
    places = {"tar": ["000.tar/0", "000.tar/1", "001.tar/2"], "jsonl": ["000.jsonl:1", "000.jsonl:2", "001.jsonl:1"]}
    places["parquet"] = ["000.parquet row 0", "000.parquet row 1", "001.parquet row 0"]
    assert [row.id for row in rows] == [row.place for row in rows] == places[kind]
    assert {row.root for row in rows} == {tmp_path}
    assert stream.notes == [f"2 shards, 000.{kind} the first"]
    assert [row.place for row in stream.first(2)] == places[kind][:2]


@each_kind
def test_a_limit_holds_over_lanes(tmp_path, kind):
    stream = written(tmp_path, kind, [4, 4, 4], limit=6).build()
    assert sorted(row for rows in read(stream, 4, 1) for row in ids(rows)) == list("012345")


@each_kind
def test_a_column_that_is_probably_misspelt(tmp_path, kind):
    (note,) = written(tmp_path, kind, [2], columns={"caption": "txet"}).build().notes[1:]
    assert "none of the first 16 rows has the column `txet`; they have " in note
    assert "`text`" in note


@each_kind
def test_a_shard_that_is_cut_off_loses_its_rest_alone(tmp_path, kind):
    source = written(tmp_path, kind, [3000, 2])
    file = tmp_path / f"000.{kind}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (rows,) = read(source.build())
    good, (bad,) = [row for row in rows if isinstance(row, Row)], [row for row in rows if isinstance(row, BadRow)]
    assert bad.row.place.startswith(f"000.{kind}")
    assert [row.id for row in good[-2:]] == ["3000", "3001"]
    if kind == "parquet":
        assert len(good) == 2, "the index is at the end"
    else:
        assert [row.id for row in good[:-2]] == list(map(str, range(len(good) - 2)))
        assert 1000 < len(good) < 2000


@each_kind
def test_a_shard_that_is_something_else(tmp_path, kind):
    source = written(tmp_path, kind, [1, 1])
    (tmp_path / f"000.{kind}").write_bytes(b"\xff\xd8 no such file" * 99)
    (rows,) = read(source.build())
    assert [isinstance(row, BadRow) for row in rows] == [True, False]
    assert ids(source.build().first(5)) == ["1"]
    (tmp_path / f"001.{kind}").write_bytes(b"")
    with pytest.raises(A2AError) as caught:
        source.build().first(5)
    assert f"000.{kind}" in str(caught.value)


@each_kind
@pytest.mark.parametrize("fault", [500, "half", "slow"])
def test_faults_of_a_server_that_pass_lose_nothing(server, tmp_path, kind, fault):
    source = written(tmp_path, kind, [40, 40])
    for number in range(2):
        server.files[f"/{number}"] = (tmp_path / f"00{number}.{kind}").read_bytes()
        server.faults[f"/{number}"] += [fault]
    there = type(source)(path=f"{server.url}/{{0..1}}", timeout=0.3, retries=1)
    assert ids(read(there.build(), 1, 5)[0]) == ids(read(source.build(), 1, 5)[0])


@each_kind
@pytest.mark.parametrize(("fault", "reason"), [(500, "answers 500"), ("half", "not completed"), ("slow", "within 0.2 s")])
def test_faults_that_stay_lose_the_shard(server, tmp_path, kind, fault, reason):
    source = written(tmp_path, kind, [4, 4])
    for number in range(2):
        server.files[f"/{number}"] = (tmp_path / f"00{number}.{kind}").read_bytes()
    server.faults["/0"] += [fault] * 9
    stream = type(source)(path=f"{server.url}/{{0..1}}", timeout=0.2, retries=1).build()
    bad, *good = read(stream)[0]
    assert (bad.row.place, reason in bad.reason, "(tried 2 times)" in bad.reason) == ("0", True, True)
    assert ids(good) == list("4567")


@each_kind
def test_other_shards_are_no_place_to_go_on(tmp_path, kind):
    source = written(tmp_path, kind, [3, 3])
    lane = source.build().lane(0, 1, None, 0, None)
    next(iter(lane))
    (tmp_path / f"000.{kind}").rename(tmp_path / f"900.{kind}")
    other = type(source)(path=f"{tmp_path}/*.{kind}").build()
    with pytest.raises(A2AError, match=f"would go on in the shard 001.{kind}, and stood in 000.{kind} before"):
        other.lane(0, 1, None, 0, lane.state())
    fewer = type(source)(path=f"{tmp_path}/001.{kind}").build()
    with pytest.raises(A2AError, match="has 1 shards, and had 2"):
        fewer.lane(0, 1, None, 0, lane.state())
