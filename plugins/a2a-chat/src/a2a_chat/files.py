"""The files of the source `chat`, by a2a-data's tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from a2a_core.errors import A2AError, Problem
from a2a_data.cache import content_key, stamp_key
from a2a_data.files import matched
from a2a_data.jsonl_reader import BATCH_ROWS, BOM, JsonlRows, Line, lines, problem, table
from a2a_data.jsonl_reader import tables as line_tables
from a2a_data.parquet_reader import ParquetRows
from a2a_data.parquet_reader import tables as parquet_tables
from a2a_data.rows import FileRows, NamedRows, Read, empty, open_rows, readable

if TYPE_CHECKING:
    from a2a_data.source import FileSource

Key = Callable[..., str]
LINES, LIST, TEXT, TABLE = "JSON lines", "a JSON list", "text", "parquet"
KINDS = {".jsonl": LINES, ".ndjson": LINES, ".json": LIST, ".txt": TEXT, ".parquet": TABLE, ".pq": TABLE}


class ListRows(JsonlRows):
    """Rows of a JSON list; `train.json row 17` counts from 0."""

    mark: ClassVar[str] = " row "


def open_files(source: FileSource) -> NamedRows:
    """The rows of a source, as written; A2AError when there are none, or files of several kinds."""
    files = matched(source.path, source.suffixes)
    with readable(source.path):
        kinds = {kind(file): file for file in files}
    if len(kinds) > 1:
        several = " and ".join(f"{file.name} ({each})" for each, file in kinds.items())
        raise A2AError(
            f"the files of {source.path} are of several kinds: {several}", hint="name those of one kind by a pattern"
        )
    (found,) = kinds
    rows, key, read = readers()[found]
    return open_rows(source, rows, partial(keyed, key, found), read)


def kind(file: Path) -> str:
    """What a file holds; A2AError for an ending that says nothing. Lines of JSON are often called .json."""
    found = KINDS.get(file.suffix.lower())
    if found is None:
        raise A2AError(f"{file} is of no kind that is known by its ending: {', '.join(KINDS)}")
    if found != LIST:
        return found
    with file.open("rb") as stream:
        first = next((line.removeprefix(BOM).lstrip() for line in stream if line.strip()), b"")
    return LIST if first.startswith(b"[") else LINES


def readers() -> dict[str, tuple[type[FileRows], Key, Read]]:
    """Kind -> its rows, what tells one file from another, and its reader."""
    return {
        LINES: (JsonlRows, content_key, line_tables),
        LIST: (ListRows, content_key, list_tables),
        TEXT: (JsonlRows, content_key, text_tables),
        TABLE: (ParquetRows, stamp_key, parquet_tables),
    }


def keyed(key: Key, found: str, files: Sequence[Path]) -> str:
    """The files' identity, read as this kind."""
    return key(files, found)


def list_tables(files: Sequence[Path]) -> Iterator[pa.Table]:
    """The objects of JSON lists; A2AError where a file is no such list."""
    return written((number, place, row) for number, file in enumerate(files) for place, row in enumerate(objects(file)))


def objects(file: Path) -> list[dict[str, Any]]:
    """What stands in a JSON list."""
    try:
        found = json.loads(file.read_bytes().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise A2AError(f"{file} is no list in JSON: {error}") from None
    wrong = [(number, each) for number, each in enumerate(found) if not isinstance(each, dict)]
    if wrong:
        number, each = wrong[0]
        raise A2AError(f"{file.name} row {number} is no JSON object but {type(each).__name__}")
    if not found:
        raise empty([file])
    return found  # type: ignore[no-any-return]


def text_tables(files: Sequence[Path]) -> Iterator[pa.Table]:
    """Lines of text, blank ones left out; A2AError where one is not UTF-8."""
    rows = ((number, line.number, {"text": text(file, line)}) for number, file in enumerate(files) for line in lines(file))
    yield from written(rows, files)


def text(file: Path, line: Line) -> str:
    """A line."""
    try:
        return line.raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        wrong: Problem = problem(file, line, "is not UTF-8", error.start)
        raise A2AError([wrong]) from None


def written(rows: Iterator[tuple[int, int, dict[str, Any]]], files: Sequence[Path] = ()) -> Iterator[pa.Table]:
    """Rows of files, each with its place, as pieces of a table of JSON lines; A2AError where there is none."""
    batch: list[tuple[int, int, str]] = []
    total = 0
    for number, place, row in rows:
        batch.append((number, place, json.dumps(row, ensure_ascii=False)))
        total += 1
        if len(batch) >= BATCH_ROWS:
            yield table(batch)
            batch = []
    if batch:
        yield table(batch)
    if not total:
        raise empty(files)
