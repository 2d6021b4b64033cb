"""JSON lines as a table of lines.

The library's own JSON loader infers one type a column: it merges the keys of nested objects and fails where a field is
a number in one row and a list in another. A table of the lines themselves is exact, lazy and of constant memory; parsing
a line costs 2 µs, and 17 µs less a row than formatting through `datasets`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from a2a_core.errors import A2AError, Origin, Problem
from a2a_data.rows import FILE, LINE, ROW, FileRows, empty

BATCH_ROWS = 1000
BATCH_BYTES = 1 << 24
MOST_PROBLEMS = 5
BOM = b"\xef\xbb\xbf"
SCHEMA = pa.schema([(FILE, pa.int32()), (LINE, pa.int64()), (ROW, pa.large_string())])


class Line(NamedTuple):
    """A line that is not blank."""

    number: int
    raw: bytes


class JsonlRows(FileRows):
    """Rows that are parsed when asked for."""

    def record(self, row: Any) -> dict[str, Any]:
        """The object of a line."""
        found: dict[str, Any] = json.loads(row.as_py())
        return found

    def values(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Parses every line."""
        return (tuple(map(record.get, columns)) for record in self._records())

    def has(self, column: str) -> bool:
        """Looks no further than the first line that has it."""
        return any(column in record for record in self._records())

    def names(self) -> list[str]:
        """The keys of all lines."""
        return list(dict.fromkeys(name for record in self._records() for name in record))

    def _records(self) -> Iterator[dict[str, Any]]:
        return (json.loads(line) for chunk in self._row.chunks for line in chunk.to_pylist())


def tables(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The lines of all files, checked; A2AError with the first few that are no JSON objects."""
    problems: list[Problem] = []
    batch: list[tuple[int, int, str]] = []
    size = total = 0
    for number, file in enumerate(files):
        for line in lines(file):
            checked = check(file, line)
            if isinstance(checked, Problem):
                problems.append(checked)
                if len(problems) >= MOST_PROBLEMS:
                    raise A2AError(problems)
                continue
            batch.append((number, line.number, checked))
            size, total = size + len(checked), total + 1
            if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
                yield table(batch)
                batch, size = [], 0
    if problems:
        raise A2AError(problems)
    if not total:
        raise empty(files)
    if batch:
        yield table(batch)


def table(batch: Sequence[tuple[int, int, str]]) -> pa.Table:
    """A piece of the table."""
    columns = zip(*batch, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)


def lines(file: Path) -> Iterator[Line]:
    """Lines that are not blank, without a byte order mark."""
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            raw = raw.removeprefix(BOM) if number == 1 else raw
            if not raw.isspace() and raw:
                yield Line(number, raw)


def check(file: Path, line: Line) -> str | Problem:
    """The text of a line, or what is wrong with it."""
    try:
        text = line.raw.decode()
    except UnicodeDecodeError as error:
        return problem(file, line, "is not UTF-8", error.start)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        return problem(file, line, f"is not JSON: {error.msg}", error.pos)
    except (ValueError, RecursionError) as error:
        return problem(file, line, f"cannot be read: {error}", 0)
    if not isinstance(found, dict):
        hint = "write one object a line, without brackets around them" if isinstance(found, list) else ""
        return problem(file, line, f"is no JSON object but {type(found).__name__}", 0, hint)
    return text


def problem(file: Path, line: Line, what: str, column: int, hint: str = "") -> Problem:
    """What is wrong with a line and where; columns are counted from 1 in the message."""
    shown = line.raw.decode(errors="replace").rstrip("\r\n")
    origin = Origin(source=str(file), text=shown, line=line.number, column=column)
    return Problem(f"{file.name}:{line.number}:{column + 1} {what}", origin, hint)
