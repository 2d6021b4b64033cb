"""The source `jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_data.source import FileSource

if TYPE_CHECKING:
    from a2a_core.components import Rows


class JsonlSource(FileSource):
    """JSON lines: one object a line, UTF-8.

    Every line is kept as it was written and parsed when its row is asked for: a field may be a number here and a list
    there, integers may be of any size, and a key that a line lacks is absent from its row (`null` stays, as None).
    Blank lines are skipped; `train.jsonl:17` is line 17 of the file all the same. All lines are checked when a file is
    read for the first time.
    """

    name = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def build(self) -> Rows:
        """Read the files into the cache, or find them there."""
        from a2a_data.cache import content_key
        from a2a_data.jsonl_reader import JsonlRows, tables
        from a2a_data.rows import open_rows

        return open_rows(self, JsonlRows, content_key, tables)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Five rows of different make."""
        path = folder / "tiny.jsonl"
        lines = ['{"id": "a", "numbers": [0.5, 1], "label": 1}', '{"id": "b", "numbers": [2], "label": "one"}']
        lines += ['{"numbers": [3, 4, 5], "extra": {"deep": [{}, null]}}', "", '{"label": null}', '{"id": "ü", "label": 0}']
        path.write_text("\n".join(lines), "utf-8")
        return cls(path=path)
