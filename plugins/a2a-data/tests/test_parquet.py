import datetime
import decimal
import pickle

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from a2a_core.errors import A2AError
from a2a_data.parquet import ParquetSource


def opened(path, table=None, **options):
    if table is not None:
        pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path)
    return ParquetSource(path=path, **options).build()


def failure(path, table=None, **options):
    with pytest.raises(A2AError) as caught:
        opened(path, table, **options)
    return str(caught.value)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.parquet"


def test_rows_are_what_was_written(path):
    table = {
        "id": ["a", None],
        "label": pa.array([1, None], pa.int8()),
        "vector": [[0.5, 1.0], None],
        "nested": [{"x": [{"y": 1}]}, {"x": []}],
        "raw": [b"\x00", b""],
        "row": [1, 2],
        "nothing": pa.nulls(2),
    }
    rows = opened(path, table)
    assert [row.fields for row in rows] == pa.table(table).to_pylist()
    assert [row.id for row in rows] == ["a", "1"]
    assert [row.place for row in rows] == ["a.parquet row 0", "a.parquet row 1"]
    assert list(rows.column("label")) == [1, None]


def test_media_of_hugging_face_come_as_they_were_stored(path):
    image, sound = b"no image: nothing may decode it", b"no sound either"
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "sound": datasets.Audio(),
            "many": datasets.List(datasets.Image()),
            "deep": {"image": datasets.Image(), "n": datasets.Value("int64")},
        }
    )
    stored = {"bytes": image, "path": "x.png"}
    linked = {"bytes": None, "path": "x.png"}
    table = pa.table(
        {
            "image": [stored, linked, None],
            "sound": [{"bytes": sound, "path": None}, {"bytes": None, "path": "x.wav"}, None],
            "many": [[stored, linked], [], None],
            "deep": [{"image": linked, "n": 1}, {"image": None, "n": 2}, None],
        }
    ).cast(features.arrow_schema)
    rows = opened(path, table)
    assert [row.fields["image"] for row in rows] == [image, "x.png", None]
    assert [row.fields["sound"] for row in rows] == [sound, "x.wav", None]
    assert [row.fields["many"] for row in rows] == [[image, "x.png"], [], None]
    assert [row.fields["deep"] for row in rows] == [{"image": "x.png", "n": 1}, {"image": None, "n": 2}, None]
    assert list(rows.column("image")) == [image, "x.png", None]
    assert list(pickle.loads(pickle.dumps(rows))) == list(rows)


def test_a_data_set_written_by_datasets_is_read(path):
    image = pytest.importorskip("PIL.Image").fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    datasets.Dataset.from_dict({"image": [image], "label": [1]}, features=features).to_parquet(path)
    (row,) = opened(path)
    assert row.fields["image"].startswith(b"\x89PNG")
    assert row.fields["label"] == 1


def test_a_table_of_pandas_is_read(path):
    pd.DataFrame({"kind": pd.Categorical(["x", "y", "x"]), "n": [1.0, None, 3.0]}).to_parquet(path)
    rows = opened(path)
    assert [row.fields["kind"] for row in rows] == ["x", "y", "x"]
    assert [row.fields["n"] for row in rows] == [1.0, None, 3.0]


def test_values_are_what_json_can_hold(path):
    day, dictionary = datetime.date(2020, 1, 2), pa.dictionary(pa.int8(), pa.string())
    noon = datetime.datetime(2020, 1, 2, 12, tzinfo=datetime.UTC)
    table = {
        "map": pa.array([[("k", day)]], pa.map_(pa.string(), pa.date32())),
        "deep": pa.array([{"when": [day], "n": 1}]),
        "noon": pa.array([noon], pa.timestamp("ms", "UTC")),
        "price": [decimal.Decimal("1.50")],
        "kinds": pa.array([["x", "y"]], pa.list_(dictionary)),
        "pair": pa.array([[1, 2]], pa.list_(pa.float16(), 2)),
        "uuid": pa.array([b"0" * 16], pa.uuid()),
    }
    assert opened(path, table)[0].fields == {
        "map": [{"key": "k", "value": "2020-01-02"}],
        "deep": {"when": ["2020-01-02"], "n": 1},
        "noon": "2020-01-02 12:00:00.000Z",
        "price": 1.5,
        "kinds": ["x", "y"],
        "pair": [1.0, 2.0],
        "uuid": b"0" * 16,
    }


def test_the_features_of_datasets_for_arrays_are_lists(path):
    features = datasets.Features({"x": datasets.Array2D((2, 2), "int32")})
    datasets.Dataset.from_dict({"x": [[[1, 2], [3, 4]]]}, features=features).to_parquet(path)
    assert opened(path)[0].fields == {"x": [[1, 2], [3, 4]]}


def test_shards_are_joined_and_widened(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1], pa.int8()), "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [2.5], "c": [[1]]}), tmp_path / "2.parquet")
    rows = opened(tmp_path / "*.parquet")
    assert [row.fields for row in rows] == [{"a": 1.0, "b": "x", "c": None}, {"a": 2.5, "b": None, "c": [1]}]
    assert [row.place for row in rows] == ["1.parquet row 0", "2.parquet row 0"]


def test_shards_that_do_not_fit_are_an_error(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "2.parquet")
    assert "2.parquet do not fit those of the files before it" in failure(tmp_path / "*.parquet")


def test_many_row_groups(path):
    pq.write_table(pa.table({"n": range(5000)}), path, row_group_size=700)
    rows = opened(path)
    assert [row.fields["n"] for row in rows] == list(range(5000))
    assert rows[4321].place == "a.parquet row 4321"


def test_broken_files_are_named(path):
    path.write_bytes(b"PAR1 no")
    assert "is no parquet file" in failure(path)
    pq.write_table(pa.table({"n": range(100_000)}), path)
    content = path.read_bytes()
    path.write_bytes(b"\xff" * 20_000 + content[20_000:])
    assert f"cannot read {path}" in failure(path)


def test_no_rows_and_unknown_columns(path):
    assert "has no rows" in failure(path, {"a": pa.array([], pa.int64())})
    assert "did you mean `label`?" in failure(path, {"label": [1]}, columns={"x": "labels"})


def test_columns_and_limit(path):
    rows = opened(path, {"id": [3, 4], "x": [1, 2]}, columns={"y": "x"}, limit=1)
    assert [(row.id, row.fields) for row in rows] == [("3", {"id": 3, "y": 1})]
    assert list(rows.column("y")) == [1]
