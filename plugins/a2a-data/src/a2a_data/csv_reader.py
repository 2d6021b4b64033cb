"""CSV as a table, by Python's reader in two passes: the first settles each column's type over all files, the second writes.

The library's own loader (pandas) decides type by type and piece by piece: `007` becomes 7, `NA` becomes missing, and a column
that turns to text after ten thousand rows fails.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from a2a_core.errors import A2AError, Origin, Problem
from a2a_data.columns import ColumnRows, piece
from a2a_data.rows import empty

if TYPE_CHECKING:
    from a2a_data.csv import CsvSource

BATCH_ROWS = 1000
BOM = b"\xef\xbb\xbf"
WHOLE = re.compile(r"0|-?[1-9][0-9]*")
DECIMAL = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|nan|-?inf", re.IGNORECASE)
KINDS: Mapping[str, tuple[pa.DataType, Callable[[str], Any]]] = {
    "whole": (pa.int64(), int),
    "decimal": (pa.float64(), float),
    "text": (pa.large_string(), str),
    "list": (pa.list_(pa.large_string()), lambda cell: [json.dumps(item) for item in json.loads(cell)]),  # items of any types
}


class Record(NamedTuple):
    """A row of a file; `line` is where it starts."""

    line: int
    cells: dict[str, str]


class CsvRows(ColumnRows):
    """Rows of a CSV file; lists hold their items as JSON."""

    def record(self, row: Any) -> dict[str, Any]:
        """The struct as a dict."""
        return {name: unpacked(value) for name, value in super().record(row).items()}

    def cells(self, chunk: pa.StructArray, column: str) -> Iterable[Any]:
        """A column of a piece of the table."""
        return map(unpacked, super().cells(chunk, column))

    def items(self, value: Any) -> Sequence[Any]:
        """A cell that holds a list holds it as JSON."""
        if not isinstance(value, str):
            return super().items(value)
        try:
            return super().items(json.loads(value))
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"is no list in JSON: {error}") from None


def unpacked(value: Any) -> Any:
    """A cell's value as a row has it."""
    return [json.loads(item) for item in value] if isinstance(value, list) else value


def tables(files: Sequence[Path], source: CsvSource) -> Iterator[pa.Table]:
    """All files as one table; A2AError for a file that is no such CSV."""
    with long_cells():
        kinds = columns(files, source)
        for number, file in enumerate(files):
            records = read(file, source.delimiter)
            while batch := list(islice(records, BATCH_ROWS)):
                arrays = {name: array(name, kind, batch) for name, kind in kinds.items()}
                yield piece(number, [record.line for record in batch], arrays)


def columns(files: Sequence[Path], source: CsvSource) -> dict[str, str]:
    """Column -> kind, over all files."""
    kinds: dict[str, str] = {}
    rows = 0
    for file in files:
        for record in read(file, source.delimiter):
            rows += 1
            for name, cell in record.cells.items():
                before = kinds.setdefault(name, "" if source.numbers and name != source.id else "text")
                if cell and before != "text":
                    kinds[name] = wider(before, cell)
    if not rows:
        raise empty(files)
    return {name: kind or "text" for name, kind in kinds.items()}


def wider(kind: str, cell: str) -> str:
    """The kind that takes a cell too."""
    if kind == "list" or cell.startswith("["):
        return "list" if kind in ("", "list") and is_list(cell) else "text"
    if WHOLE.fullmatch(cell):
        fits = len(cell) <= 20 and abs(int(cell)) < 2**63
        return kind if fits and kind == "decimal" else "whole" if fits else "text"
    return "decimal" if DECIMAL.fullmatch(cell) else "text"


def is_list(cell: str) -> bool:
    """A list in JSON."""
    try:
        return isinstance(json.loads(cell), list)
    except (ValueError, RecursionError):
        return False


def array(name: str, kind: str, batch: Sequence[Record]) -> pa.Array:
    """A column of a few rows; nothing where a cell is empty or the file has no such column."""
    dtype, convert = KINDS[kind]
    cells = (record.cells.get(name) for record in batch)
    return pa.array([convert(cell) if cell else None for cell in cells], dtype)


def read(file: Path, delimiter: str) -> Iterator[Record]:
    """The records of a file, under the names of its header."""
    reader = csv.reader(text(file), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise failure(file, line, f"is no CSV: {error}") from None
        if not cells:
            continue
        if header is None:
            header = unique(file, line, cells)
        elif len(cells) != len(header):
            raise failure(file, line, f"has {len(cells)} cells, the header {len(header)}", repr(delimiter.join(cells)))
        else:
            yield Record(line, dict(zip(header, cells, strict=True)))


def unique(file: Path, line: int, header: list[str]) -> list[str]:
    """A header that names every column once."""
    twice = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if twice:
        raise failure(file, line, f"names the column `{twice[0]}` twice")
    return header


def text(file: Path) -> Iterator[str]:
    """The lines of a file without a byte order mark."""
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            try:
                yield (raw.removeprefix(BOM) if number == 1 else raw).decode()
            except UnicodeDecodeError as error:
                raise failure(file, number, f"is not UTF-8 (byte {error.start + 1})") from None


def failure(file: Path, line: int, what: str, shown: str = "") -> A2AError:
    """What is wrong, and where."""
    return A2AError([Problem(f"{file.name}:{line} {what}", Origin(source=str(file), text=shown, line=line))])


@contextmanager
def long_cells() -> Iterator[None]:
    """The reader's limit of 128 KiB a cell is global: lifted for a while."""
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)
