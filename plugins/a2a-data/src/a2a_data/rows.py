"""Rows of a memory-mapped table by index.

Measured in random order, a row of six fields: lines of JSON 5 to 7 µs, columns 9 to 11, `datasets.Dataset[i]` 20 to 33 (it
formats a batch; single values are read from the table here), a list of dicts 0.2 to 0.9. A million rows are opened again
in 0.07 s and take hardly any memory; the list takes 7 s and 900 MB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from a2a_core.errors import A2AError
from a2a_core.structures import Row
from a2a_data.cache import cached
from a2a_data.files import labels, matched

if TYPE_CHECKING:
    from datasets import Dataset

    from a2a_data.source import FileSource

Read = Callable[[Sequence[Path]], Iterator[pa.Table]]
FILE, LINE, ROW = "file", "line", "row"
"""Columns of the table: which file (int32), where in it (int64), and the row in the format's own way."""


class FileRows(ABC):
    """The rows of a source over files."""

    mark: ClassVar[str] = ":"

    def __init__(self, table: Dataset, files: Sequence[Path], source: FileSource) -> None:
        self._table = table
        self._labels, self._folders = labels(files), tuple(file.parent for file in files)
        self._columns, self._id = dict(source.columns), source.id
        self._read_as = set(source.columns.values())
        self._length = min(len(table), source.limit or len(table))
        self._map()

    def _map(self) -> None:
        data = self._table.data
        self._file, self._line, self._row = data.column(FILE), data.column(LINE), data.column(ROW)

    def __getstate__(self) -> dict[str, Any]:
        # a data set is pickled as the names of its files, its columns would be as all that they hold
        return {name: value for name, value in vars(self).items() if name not in ("_file", "_line", "_row")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Row:
        if not -self._length <= index < self._length:
            raise IndexError(f"row {index} of {self._length}")
        index = int(index) % self._length
        record = self.record(self._row[index])
        name = record.get(self._id)
        file = self._file[index].as_py()
        place = f"{self._labels[file]}{self.mark}{self._line[index].as_py()}"
        return Row(self._fields(record), str(index if name is None else name), self._folders[file], place)

    def column(self, field: str) -> Iterator[Any]:
        """One field of every row, None where absent; KeyError that lists the fields when no row has it."""
        column = self._columns.get(field, field)
        renamed = field not in self._columns and field in self._read_as
        if renamed or not self.has(column):
            fields = self._fields(dict.fromkeys(self.names()))
            raise KeyError(f"no row of {self} has a field `{field}`; {listed(fields)}")
        return islice(self.values(column), self._length)

    def _fields(self, record: dict[str, Any]) -> dict[str, Any]:
        if not self._columns:
            return record
        taken = self._read_as | self._columns.keys()
        fields = {name: value for name, value in record.items() if name not in taken}
        return fields | {field: record[column] for field, column in self._columns.items() if column in record}

    def __str__(self) -> str:
        return self._labels[0] if len(self._labels) == 1 else f"{self._labels[0]} … {self._labels[-1]}"

    @abstractmethod
    def record(self, row: Any) -> dict[str, Any]:
        """A row from the table's own value of it."""

    @abstractmethod
    def values(self, column: str) -> Iterator[Any]:
        """A column of the files, None where a row has none."""

    @abstractmethod
    def has(self, column: str) -> bool:
        """Some row has the column."""

    @abstractmethod
    def names(self) -> list[str]:
        """All columns, in the files' order."""


def open_rows(source: FileSource, rows: type[FileRows], key: Callable[[Sequence[Path]], str], read: Read) -> FileRows:
    """The rows of a source; A2AError when there are none, or no file, or no such column."""
    files = matched(source.path, source.suffixes)
    with readable(source.path):
        identity = key(files)
    found = rows(cached(f"a2a_{source.name}", identity, lambda: reading(source.path, read(files))), files, source)
    wanted = [*source.columns.values(), *([source.id] if source.id != "id" else [])]
    for column in wanted:
        if not found.has(column):
            close = get_close_matches(column, found.names(), n=1)
            hint = f"did you mean `{close[0]}`?" if close else ""
            raise A2AError(f"{found} has no column `{column}`; {listed(found.names())}", hint=hint)
    return found


def reading(path: Path, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The same tables; A2AError where a file cannot be read."""
    with readable(path):
        yield from tables


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """A2AError where a file cannot be read."""
    try:
        yield
    except OSError as error:
        raise A2AError(f"cannot read {error.filename or path}: {error.strerror or error}") from None


def listed(names: Sequence[str] | dict[str, Any]) -> str:
    """What there is, for an error."""
    shown = ", ".join(f"`{name}`" for name in list(names)[:30])
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return f"there is {shown}{more}"


def empty(files: Sequence[Path]) -> A2AError:
    """The error for files without a row."""
    return A2AError(
        f"{files[0]} has no rows" if len(files) == 1 else f"the {len(files)} files in {files[0].parent} have no rows"
    )
