import datetime
import decimal
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from a2a_data.parquet import ParquetSource
from a2a_streaming.parquet import StreamingParquetSource

from .conftest import parquet, read


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def test_values_are_those_of_the_source_parquet(tmp_path):
    media = {"bytes": b"\0", "path": "a.png"}
    rows = [
        {"day": datetime.date(2020, 1, 2), "price": decimal.Decimal("1.5"), "image": media, "all": [media, None], "n": 1},
        {"day": None, "price": None, "image": {"bytes": None, "path": "b.png"}, "all": [], "n": None},
    ]
    table = pa.Table.from_pylist(rows).append_column("kind", pa.array(["x", None]).dictionary_encode())
    table = table.append_column("map", pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int32())))
    pq.write_table(table, tmp_path / "a.parquet")
    wanted = list(ParquetSource(path=tmp_path / "a.parquet").build())
    found = StreamingParquetSource(path=str(tmp_path / "a.parquet")).build().first(9)
    assert [row.fields for row in found] == [row.fields for row in wanted]
    assert [(row.place, row.root) for row in found] == [(row.place, row.root) for row in wanted]


def test_groups_before_the_row_are_not_read(tmp_path, asked):
    rows = [{"id": number, "data": number.to_bytes(4) * 5000} for number in range(100)]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=10, compression="none", use_dictionary=False)
    (tmp_path / "a.parquet").write_bytes(file.getvalue())
    stream = StreamingParquetSource(path=str(tmp_path)).build()
    lane = stream.lane(0, 1, None, 0, None)
    given = iter(lane)
    for _ in range(75):
        next(given)
    asked.clear()
    assert next(iter(stream.lane(0, 1, None, 0, lane.state()))).id == "75"
    groups = pq.ParquetFile(file).metadata
    begin = groups.row_group(7).column(0).file_offset or groups.row_group(7).column(0).data_page_offset
    assert min(start for _, start, _ in asked) >= begin


def test_a_row_lacks_what_its_file_lacks(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet([{"a": 1}]))
    (tmp_path / "b.parquet").write_bytes(parquet([{"b": "x"}]))
    assert [row.fields for row in read(StreamingParquetSource(path=str(tmp_path)).build())[0]] == [{"a": 1}, {"b": "x"}]


def test_a_column_twice(tmp_path):
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), tmp_path / "a.parquet")
    (bad,) = read(StreamingParquetSource(path=str(tmp_path)).build())[0]
    assert (bad.row.place, bad.reason) == ("a.parquet", "it has the column `a` twice")
