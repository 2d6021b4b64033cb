"""The queries that an argument stands for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from a2a_core.errors import A2AError
from a2a_retrieval.commands.rows import check_file, rows_of

if TYPE_CHECKING:
    from a2a_core.structures import Row
    from a2a_retrieval.embedder import Embedded, Embedder
    from a2a_retrieval.side_reading import SideReading


def check_query(query: str) -> None:
    """A2AError for an empty one, and for a file that is not there."""
    if not query.strip():
        raise A2AError("the query is empty")
    if query.startswith("@") or query.endswith(".jsonl"):
        check_file(Path(query.removeprefix("@")))


def queries(query: str, reading: SideReading) -> Iterator[Row]:
    """Of one text or medium, of a file of rows, or of lines of standard input."""
    from a2a_core.structures import Row

    here = Path.cwd()
    if query == "-":
        for number, line in enumerate(sys.stdin, 1):
            if text := line.strip():
                yield Row({reading.field: text}, str(number), here, f"standard input:{number}")
    elif query.endswith(".jsonl") and not query.startswith("@"):
        yield from rows_of(Path(query))
    else:
        medium = query.removeprefix("@")
        if query.startswith("@") and not reading.medium.file:
            medium = Path(medium).read_text(encoding="utf-8-sig")
        yield Row({reading.field: medium}, "query", here, "the query")


def embedded(query: str, embedder: Embedder, reading: SideReading) -> Embedded:
    """All queries; A2AError where none can be read."""
    from a2a_retrieval.searching import whole

    blocks = list(embedder.embed(queries(query, reading), reading))
    if not any(block.rows for block in blocks):
        bad = next((each for block in blocks for each in block.bad.values()), None)
        raise A2AError(f"{bad.row.place} cannot be read: {bad.reason}" if bad is not None else "there is no query")
    return whole(blocks)
