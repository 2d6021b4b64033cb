"""The source `streaming-jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core.options import Location
from a2a_streaming.source import StreamingSource

if TYPE_CHECKING:
    from a2a_core.streams import Stream


class StreamingJsonlSource(StreamingSource):
    """JSON lines in many files, read as they come: one object a line, UTF-8.

    A line that is no object is one bad row; blank lines are skipped. Relative paths of media start in the folder of their
    file, which must be on this machine then.
    """

    name = "streaming-jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def build(self) -> Stream:
        """List the files."""
        from a2a_streaming.jsonl_files import JsonlFiles
        from a2a_streaming.shards import FileStream

        return FileStream(self, JsonlFiles)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three files, five rows."""
        files = {
            "a": '{"id": "a", "label": 1}\n\n{"label": "one"}',
            "b": '{"id": "ü"}\n',
            "c": '{"id": 3}\n{"deep": [{}]}\n',
        }
        for name, text in files.items():
            (folder / f"{name}.jsonl").write_text(text, "utf-8")
        return cls(path=Location(folder / "{a,b,c}.jsonl"))
