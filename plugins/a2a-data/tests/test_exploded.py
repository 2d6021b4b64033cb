import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_core.testing import checks
from a2a_data import exploded, index
from a2a_data.csv import CsvSource
from a2a_data.jsonl import JsonlSource
from a2a_data.mix import MixSource
from a2a_data.parquet import ParquetSource

WALK, SIT = {"label": "walk", "start": 0, "end": 2.5}, {"label": "sit", "start": 2.5, "end": 4}
ROWS = [
    {"id": "a", "video": "a.mp4", "label": "adl", "segments": [WALK, SIT]},
    {"id": "b", "video": "b.mp4", "label": "fall", "segments": []},
    {"video": "c.mp4", "label": "fall", "segments": [SIT]},
    {"id": "d", "video": "d.mp4", "segments": None},
    {"id": "e", "video": "e.mp4"},
]


@pytest.fixture
def path(tmp_path):
    return written(tmp_path / "train.jsonl", ROWS)


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def opened(path, explode="segments", **options):
    return JsonlSource(path=path, explode=explode, **options).build()


def failure(path, explode="segments", **options):
    with pytest.raises(A2AError) as caught:
        opened(path, explode, **options)
    return str(caught.value)


def test_an_object_stands_over_its_row_and_the_list_is_gone(path):
    rows = opened(path)
    assert [row.fields for row in rows] == [
        {"id": "a", "video": "a.mp4", **WALK},
        {"id": "a", "video": "a.mp4", **SIT},
        {"video": "c.mp4", **SIT},
    ]
    assert [row.id for row in rows] == ["a#0", "a#1", "2#0"]
    assert [row.place for row in rows] == [
        "train.jsonl:1 segments[0]",
        "train.jsonl:1 segments[1]",
        "train.jsonl:3 segments[0]",
    ]
    assert {row.root for row in rows} == {path.parent}


def test_any_other_item_takes_the_place_of_the_list(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"captions": ["a cat", None, {"captions": "own"}, [1]], "image": "1.png"}])
    assert [row.fields["captions"] for row in opened(path, "captions")] == ["a cat", None, "own", [1]]
    assert list(opened(path, "captions").column("captions")) == ["a cat", None, "own", [1]]


def test_columns_rename_what_comes_out(tmp_path, path):
    rows = opened(path, columns={"activity": "label", "from": "start"})
    assert rows[1].fields == {"id": "a", "video": "a.mp4", "activity": "sit", "from": 2.5, "end": 4}
    assert list(rows.column("activity")) == ["walk", "sit", "sit"]
    with pytest.raises(KeyError, match="`label`"):
        rows.column("label")
    captions = written(tmp_path / "b.jsonl", [{"captions": ["x", "y"]}])
    assert [row.fields for row in opened(captions, "captions", columns={"text": "captions"})] == [{"text": "x"}, {"text": "y"}]


def test_a_column_is_that_of_the_samples(path):
    rows = opened(path)
    assert list(rows.column("label")) == ["walk", "sit", "sit"]
    assert list(rows.column("video")) == ["a.mp4", "a.mp4", "c.mp4"]
    assert list(rows.column("id")) == ["a", "a", None]
    with pytest.raises(KeyError) as caught:
        rows.column("segments")
    message = "no row of train.jsonl has a field `segments`; there is `id`, `video`, `label`, `start`, `end`"
    assert caught.value.args[0] == message


def test_limit_counts_rows_of_the_file(path):
    assert [row.id for row in opened(path, limit=1)] == ["a#0", "a#1"]
    assert list(opened(path, limit=2).column("label")) == ["walk", "sit"]
    assert len(opened(path, limit=99)) == 3


def test_what_gives_no_sample_is_counted(path):
    assert opened(path).notes == ["3 of 5 rows of train.jsonl have nothing in `segments` and give no sample"]
    assert opened(path, limit=1).notes == []
    mix = MixSource(sources={"clips": JsonlSource(path=path, explode="segments")})
    assert mix.build().notes == ["`clips`: 3 of 5 rows of train.jsonl have nothing in `segments` and give no sample"]


def test_no_sample_at_all_is_an_error(tmp_path):
    path = written(tmp_path / "a.jsonl", ROWS[3:] + ROWS[1:2])
    assert "`segments` is empty in every row of a.jsonl: there is no sample" in failure(path)
    path = written(tmp_path / "a.jsonl", ROWS[1:3])
    assert "is empty in every row" in failure(path, limit=1)


def test_what_is_no_list_is_an_error(path):
    message = failure(path, "label")
    assert "train.jsonl:1: `label` is no list but str" in message
    assert "`explode` names a column of lists: `segments`" in message
    written(path, [*ROWS, {"segments": WALK}, {"segments": 0}])
    message = failure(path)
    assert "train.jsonl:6: `segments` is no list but dict" in message
    assert "train.jsonl:7: `segments` is no list but int" in message
    assert "train.jsonl:6" not in failure(path, limit=5, columns={"x": "nowhere"}), "beyond the limit nobody minds"
    rows = opened(path, limit=5)
    assert list(rows.column("label")) == ["walk", "sit", "sit"]
    with pytest.raises(KeyError, match="has a field `nowhere`"):
        rows.column("nowhere")
    assert "train.jsonl:6: `segments` is no list but dict" in failure(path, limit=6)


def test_a_column_that_no_row_has_is_an_error(path):
    message = failure(path, "segmens")
    assert "train.jsonl has no column `segmens`; there is `id`, `video`, `label`, `segments`" in message
    assert "did you mean `segments`?" in message
    assert "did you mean `start`?" in failure(path, columns={"from": "strat"})
    assert "no column `segments`" in failure(path, columns={"x": "segments"})


names = st.sampled_from(["id", "label", "x", "list"])
values = st.none() | st.integers() | st.text(max_size=2) | st.lists(st.integers(), max_size=2)
items = st.dictionaries(names, values, max_size=3) | values
lists = st.none() | st.lists(items, max_size=4)
records = st.builds(lambda row, found: row | {"list": found}, st.dictionaries(names, values, max_size=3), lists)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(records | st.just({}), min_size=1, max_size=5), limit=st.none() | st.integers(1, 6))
def test_exploding_equals_the_plain_comprehension(tmp_path, rows, limit):
    path = written(tmp_path / "a.jsonl", rows)
    wanted = [
        (
            {name: value for name, value in row.items() if name != "list"}
            | (item if isinstance(item, dict) else {"list": item}),
            f"{number}#{which}",
            f"a.jsonl:{number + 1} list[{which}]",
        )
        for number, row in enumerate(rows[:limit])
        for which, item in enumerate(row.get("list") or [])
    ]
    if not wanted:
        with pytest.raises(A2AError):
            opened(path, "list", id="", limit=limit)
        return
    found = opened(path, "list", id="", limit=limit)
    assert [(row.fields, row.id, row.place) for row in found] == wanted
    assert [found[index] for index in range(-len(found), 0)] == list(found)
    for field in {name for fields, _, _ in wanted for name in fields}:
        assert list(found.column(field)) == [fields.get(field) for fields, _, _ in wanted]


def test_lists_of_parquet(tmp_path):
    segments = [[WALK | {"end": 2.5}, SIT | {"end": 4.0}], None, []]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "segments": segments, "captions": [["x"], ["y", "z"], None]}), path)
    rows = ParquetSource(path=path, explode="segments").build()
    assert [row.fields for row in rows] == [{"id": "a", "captions": ["x"], **WALK}, {"id": "a", "captions": ["x"], **SIT}]
    assert rows[1].place == "a.parquet row 0 segments[1]"
    rows = ParquetSource(path=path, explode="captions", columns={"text": "captions"}).build()
    assert [(row.id, row.fields["text"]) for row in rows] == [("a#0", "x"), ("b#0", "y"), ("b#1", "z")]
    with pytest.raises(A2AError, match="a.parquet row 0: `id` is no list but str"):
        ParquetSource(path=path, explode="id").build()


def test_lists_of_csv_are_written_as_json(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,label,segments\na,adl,"[{""label"": ""walk"", ""start"": 1}, 7]"\nb,adl,\nc,adl,[]\n')
    rows = CsvSource(path=path, explode="segments").build()
    assert [row.fields for row in rows] == [
        {"id": "a", "label": "walk", "start": 1},
        {"id": "a", "label": "adl", "segments": 7},
    ]
    assert list(rows.column("label")) == ["walk", "adl"]
    with pytest.raises(A2AError, match="a.csv:2: `label` is no list in JSON: Expecting value"):
        CsvSource(path=path, explode="label").build()
    path.write_text('n\n"{""a"": 1}"\n3\n')
    with pytest.raises(A2AError, match="a.csv:2: `n` is no list but dict"):
        CsvSource(path=path, explode="n").build()


def test_lists_are_counted_once(path, monkeypatch):
    before = list(opened(path))
    monkeypatch.setattr(index, "counted", None)
    monkeypatch.setattr(index, "compared", None)
    assert list(opened(path)) == before
    assert len(opened(path, limit=1)) == 2


def test_an_edit_of_a_list_is_noticed(path):
    assert len(opened(path)) == 3
    written(path, ROWS[2:])
    assert len(opened(path)) == 1


def times_parsed(rows, monkeypatch, indices):
    """Rows of the files that are parsed for these samples."""
    parsed = []
    monkeypatch.setattr(rows._rows, "record", lambda row: parsed.append(row) or json.loads(row.as_py()))
    for each in indices:
        rows[each]
    return len(parsed)


def test_a_list_is_parsed_once_however_long(tmp_path, monkeypatch):
    path = written(
        tmp_path / "a.jsonl", [{"id": str(n), "segments": [WALK | {"start": i} for i in range(500)]} for n in range(3)]
    )
    rows = opened(path)
    assert times_parsed(rows, monkeypatch, range(1500)) == 3
    assert times_parsed(opened(path), monkeypatch, [0, 700, 1, 701, 1400, 2]) == 3, "in any order"


def test_no_more_is_kept_than_allowed(tmp_path, monkeypatch):
    path = written(tmp_path / "a.jsonl", [{"id": str(n), "segments": ["x" * 100] * 4} for n in range(5)])
    monkeypatch.setattr(exploded, "KEPT", 1000)
    rows = opened(path)
    for each in [0, 4, 0, 8]:
        rows[each]
    assert list(rows._lately) == [0, 2], "the one longest not asked for is forgotten"
    monkeypatch.setattr(exploded, "KEPT", 1)
    assert times_parsed(opened(path), monkeypatch, range(20)) == 5, "the latest is kept in any case"
    assert len(pickle.dumps(rows)) < 5000


def test_a_sample_is_its_own(path):
    rows = opened(path)
    rows[0].fields["label"] = "changed"
    assert rows[0].fields["label"] == "walk"
    assert rows[1].fields["label"] == "sit"


def test_samples_are_pickled_by_the_names_of_files(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"id": str(n), "segments": [WALK] * (n % 3)} for n in range(3000)])
    rows = opened(path)
    assert len(rows) == 3000
    pickled = pickle.dumps(rows)
    assert len(pickled) < 5000
    assert list(pickle.loads(pickled)) == list(rows)


def test_exploded_sources_pass_the_kit(path, tmp_path):
    csv, parquet = tmp_path / "a.csv", tmp_path / "a.parquet"
    csv.write_text('id,x\na,"[1, {""y"": 2}]"\nb,[3]\n')
    pq.write_table(pa.table({"id": ["a", "b"], "x": [["p", "q"], ["r"]]}), parquet)
    clips = JsonlSource(path=path, explode="segments", columns={"activity": "label"})
    sources = [clips, CsvSource(path=csv, explode="x"), ParquetSource(path=parquet, explode="x")]
    sources.append(MixSource(sources={"clips": clips, "texts": sources[1]}, temperature=2.0))
    for source in sources:
        for check in checks(source):
            check()
