"""Rows of media folders, from a table of JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from a2a_data.cache import cached, listing_key
from a2a_data.jsonl_reader import JsonlRows
from a2a_data.media_reader import LABELLED, PLACE, MediaReader
from a2a_data.rows import ROW, NamedRows, readable, reading, samples

if TYPE_CHECKING:
    from a2a_data.media import MediaSource


class MediaRows(JsonlRows):
    """Rows whose place is their first file."""

    def __init__(self, table: Any, root: Path, source: MediaSource) -> None:
        self._root = root
        super().__init__(table, [root], source)

    def _map(self) -> None:
        data = self.table.data
        self._place, self._labelled, self._row = (data.column(name) for name in (PLACE, LABELLED, ROW))

    def where(self, index: int) -> tuple[Path, str]:
        """See FileRows."""
        return self._root, self._place[index].as_py()

    @property
    def notes(self) -> list[str]:
        """How many rows have no labels, and one of them."""
        labelled = self._labelled.slice(0, len(self))
        bare = len(self) - pc.sum(labelled).as_py()
        first = self._place[pc.index(labelled, False).as_py()].as_py() if bare else ""
        return [f"{bare} of {len(self)} rows of {self} have no labels, such as {first}"] if bare else []


def open_media(source: MediaSource) -> NamedRows:
    """The rows of a media folder; A2AError when there are none, or its labels are broken."""
    reader = MediaReader(source)
    with readable(source.path):
        identity = listing_key(reader.stamps(), source.fields, source.labels, source.json, source.json_file, source.explode)
    table = cached("a2a_media", identity, lambda: reading(source.path, reader.tables()))
    return samples(MediaRows(table, reader.root, source), source)
