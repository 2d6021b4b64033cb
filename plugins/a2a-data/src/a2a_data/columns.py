"""Rows whose table has the files' own columns, as one struct so that no name of theirs clashes with ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from a2a_data.rows import FILE, LINE, ROW, FileRows


class ColumnRows(FileRows):
    """Rows with typed columns; a value that is missing is None."""

    def record(self, row: Any) -> dict[str, Any]:
        """The struct as a dict."""
        found: dict[str, Any] = row.as_py()
        return found

    def values(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Reads these columns alone."""
        for chunk in self._row.chunks:
            yield from zip(*(self.cells(chunk, column) for column in columns), strict=True)

    def cells(self, chunk: pa.StructArray, column: str) -> Iterable[Any]:
        """A column of a piece of the table."""
        found: list[Any] = chunk.field(column).to_pylist() if self.has(column) else [None] * len(chunk)
        return found

    def has(self, column: str) -> bool:
        """The files have the column, be it empty."""
        return column in self.names()

    def names(self) -> list[str]:
        """The files' columns."""
        return [field.name for field in self._row.type]


def piece(file: int, lines: Sequence[int], columns: Mapping[str, pa.Array]) -> pa.Table:
    """Some rows of a file; every piece of a table has the same columns of the same types."""
    row = pa.StructArray.from_arrays(list(columns.values()), names=list(columns))
    return pa.table({FILE: pa.array([file] * len(lines), pa.int32()), LINE: pa.array(lines, pa.int64()), ROW: row})
