"""Parquet by the number of a row: the index at the file's end says in which group it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from a2a_core.streams import At
from a2a_data.parquet_reader import converter, plain
from a2a_streaming.access import Reader
from a2a_streaming.shards import Files, Record

BATCH_ROWS = 1000
BATCH_BYTES = 1 << 22
BUFFER = 1 << 20
"""Bytes of a column that are read at once."""


class ParquetFiles(Files):
    """A row's number is its place in the file; the groups before its own are not read."""

    def records(self, file: Reader, start: At, wanted: Callable[[int], bool]) -> Iterator[Record]:
        """Makes Python's values of the rows that are wanted."""
        try:
            with pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as opened:
                named(opened.schema_arrow.names)
                for number, batch in batches(opened, start.number):
                    chosen = [each for each in range(len(batch)) if wanted(number + each)]
                    for each, fields in zip(chosen, values(batch, chosen), strict=True):
                        yield Record(At(number + each), f" row {number + each}", fields)
        except pa.ArrowException as error:
            raise ValueError(str(error)) from error


def named(columns: list[str]) -> None:
    """ValueError where a file has a column twice."""
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise ValueError(f"it has the column `{twice[0]}` twice")


def batches(opened: pq.ParquetFile, first: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Pieces of the file with the number of their first row, from the group on that holds a row."""
    groups = [opened.metadata.row_group(index) for index in range(opened.num_row_groups)]
    ends = list(accumulate(group.num_rows for group in groups))
    kept = [index for index, end in enumerate(ends) if end > first]
    if not kept:
        return
    heaviest = max(groups[index].total_byte_size / max(1, groups[index].num_rows) for index in kept)
    rows = max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1, heaviest))))
    number = ends[kept[0]] - groups[kept[0]].num_rows
    for batch in opened.iter_batches(rows, row_groups=kept, use_threads=False):
        yield number, batch
        number += len(batch)


def values(batch: pa.RecordBatch, chosen: list[int]) -> Iterator[Mapping[str, Any]]:
    """Some rows of a piece, each column as `parquet` has it."""
    columns = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        stored = column.storage if isinstance(column, pa.ExtensionArray) else column
        kept = stored if len(chosen) == len(batch) else stored.take(pa.array(chosen, pa.int64()))
        kind = plain(kept.type)
        convert = converter(kind)
        found = kept.cast(kind).to_pylist()
        columns[name] = list(map(convert, found)) if convert else found
    return (dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True))
