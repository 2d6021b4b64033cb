"""The source `streaming-parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core.options import Location
from a2a_streaming.source import StreamingSource

if TYPE_CHECKING:
    from a2a_core.streams import Stream


class StreamingParquetSource(StreamingSource):
    """Parquet in many files, read as they come, a piece of a row group at a time.

    Values are those of `parquet`: dates and times come as text, decimals as floats, categories as their names, maps as lists
    of {key, value}; the features `Image`, `Audio` and `Video` of Hugging Face `datasets` as bytes if they are in the file, else
    as a path. Each file has its own columns: a row lacks those that its file lacks. `shard.parquet row 17` counts from 0.

    Going on in the middle of a file begins with the row group that holds the row: groups of 100 MB and more make that slow,
    and so does a file with one group that several lanes share.
    """

    name = "streaming-parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def build(self) -> Stream:
        """List the files."""
        from a2a_streaming.parquet_files import ParquetFiles
        from a2a_streaming.shards import FileStream

        return FileStream(self, ParquetFiles)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two files, seven rows, some with bytes and some with a path."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        media = [{"bytes": b"\x00\x01", "path": None}, {"bytes": None, "path": "b.png"}, None]
        pq.write_table(pa.table({"id": ["a", "b", None], "image": media, "label": [1, None, 0]}), folder / "0.parquet")
        pq.write_table(pa.table({"label": [3, 4, 5, 6]}), folder / "1.parquet", row_group_size=3)
        return cls(path=Location(folder / "*.parquet"))
