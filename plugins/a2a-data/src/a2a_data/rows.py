"""Rows of a memory-mapped table by index.

Measured in random order, a row of six fields: lines of JSON 5 to 7 µs, columns 9 to 11, `datasets.Dataset[i]` 20 to 33 (it
formats a batch; single values are read from the table here), a list of dicts 0.2 to 0.9. A million rows are opened again
in 0.07 s and take hardly any memory; the list takes 7 s and 900 MB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from types import NoneType
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


class NamedRows(ABC):
    """Rows whose fields are columns under names that the recipe gives them."""

    def __init__(self, columns: dict[str, str]) -> None:
        self._columns, self._read_as = columns, set(columns.values())

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def raw(self, index: int) -> Row:
        """A row, its fields still under the columns' names."""

    def __getitem__(self, index: int, /) -> Row:
        length = len(self)
        if not -length <= index < length:
            raise IndexError(f"row {index} of {length}")
        row = self.raw(int(index) % length)
        return row._replace(fields=self._fields(row.fields)) if self._columns else row

    def column(self, field: str) -> Iterator[Any]:
        """One field of every row, None where absent; KeyError that lists the fields when no row has it."""
        column = self._columns.get(field, field)
        renamed = field not in self._columns and field in self._read_as
        if renamed or not self.has(column):
            fields = self._fields(dict.fromkeys(self.names()))
            raise KeyError(f"no row of {self} has a field `{field}`; {listed(list(fields))}")
        return islice((value for (value,) in self.values(column)), len(self))

    def _fields(self, record: Mapping[str, Any]) -> dict[str, Any]:
        taken = self._read_as | self._columns.keys()
        fields = {name: value for name, value in record.items() if name not in taken}
        return fields | {field: record[column] for field, column in self._columns.items() if column in record}

    @abstractmethod
    def values(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """These columns of all rows, also of those beyond the limit; None where a row has none."""

    @abstractmethod
    def has(self, column: str) -> bool:
        """Some row has the column."""

    @abstractmethod
    def names(self) -> list[str]:
        """All columns, in the files' order."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of the rows."""
        return []


class FileRows(NamedRows):
    """The rows of a source over files."""

    mark: ClassVar[str] = ":"

    def __init__(self, table: Dataset, files: Sequence[Path], source: FileSource) -> None:
        super().__init__(dict(source.columns))
        self.table = table
        self._labels, self._folders, self._id = labels(files), tuple(file.parent for file in files), source.id
        self._length = min(len(table), source.limit or len(table))
        self._map()

    def _map(self) -> None:
        data = self.table.data
        self._file, self._line, self._row = data.column(FILE), data.column(LINE), data.column(ROW)

    def __getstate__(self) -> dict[str, Any]:
        # a data set is pickled as the names of its files, its columns would be as all that they hold
        return {name: value for name, value in vars(self).items() if not isinstance(value, pa.ChunkedArray)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map()

    def __len__(self) -> int:
        return self._length

    def raw(self, index: int) -> Row:
        """See NamedRows; knows the rows beyond the limit too."""
        record = self.record(self._row[index])
        name = record.get(self._id) if self._id else None
        return Row(record, str(index if name is None else name), *self.where(index))

    def where(self, index: int) -> tuple[Path, str]:
        """A row's folder and its place."""
        file = self._file[index].as_py()
        return self._folders[file], f"{self._labels[file]}{self.mark}{self._line[index].as_py()}"

    def size(self, index: int) -> int:
        """Bytes of a row in the table."""
        return int(self._row.slice(index, 1).nbytes)

    def __str__(self) -> str:
        return self._labels[0] if len(self._labels) == 1 else f"{self._labels[0]} … {self._labels[-1]}"

    @abstractmethod
    def record(self, row: Any) -> dict[str, Any]:
        """A row from the table's own value of it."""

    def items(self, value: Any) -> Sequence[Any]:
        """What stands in a column of lists, none where it is missing; ValueError where it is no list."""
        if isinstance(value, (list, NoneType)):
            return value or ()
        raise ValueError(f"is no list but {type(value).__name__}")


def open_rows(source: FileSource, rows: type[FileRows], key: Callable[[Sequence[Path]], str], read: Read) -> NamedRows:
    """The rows of a source over files; A2AError when there are none, or no file, or no such column."""
    files = matched(source.path, source.suffixes)
    with readable(source.path):
        identity = key(files)
    table = cached(f"a2a_{source.name}", identity, lambda: reading(source.path, read(files)))
    return samples(rows(table, files, source), source)


def samples(rows: FileRows, source: FileSource) -> NamedRows:
    """The rows as the recipe wants them: each of another id, exploded, with all columns that it names."""
    from a2a_data.exploded import ExplodedRows
    from a2a_data.index import item_counts, refuse_same_ids

    for column in [source.id] if source.id not in ("", "id") else []:
        must_have(rows, column)
    if source.id:
        refuse_same_ids(rows, source.id)
    found: NamedRows = rows
    if source.explode:
        must_have(rows, source.explode)
        found = ExplodedRows(rows, source.explode, item_counts(rows, source.explode), dict(source.columns))
    for column in source.columns.values():
        must_have(found, column)
    return found


def must_have(rows: NamedRows, column: str) -> None:
    """A2AError where no row has the column."""
    if rows.has(column):
        return
    names = rows.names()
    close = get_close_matches(column, names, n=1)
    hint = f"did you mean `{close[0]}`?" if close else ""
    raise A2AError(f"{rows} has no column `{column}`; {listed(names)}", hint=hint)


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


def listed(names: Sequence[str]) -> str:
    """What there is, for an error."""
    shown = ", ".join(f"`{name}`" for name in names[:30])
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return f"there is {shown}{more}"


def empty(files: Sequence[Path]) -> A2AError:
    """The error for files without a row."""
    return A2AError(
        f"{files[0]} has no rows" if len(files) == 1 else f"the {len(files)} files in {files[0].parent} have no rows"
    )
