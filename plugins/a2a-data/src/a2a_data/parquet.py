"""The source `parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_data.source import FileSource

if TYPE_CHECKING:
    from a2a_core.components import Rows


class ParquetSource(FileSource):
    """Parquet files, one or many shards.

    Shards may lack columns that others have (None there); whole numbers and floats of different sizes are widened. Dates
    and times come as text, decimals as floats, categories as their names, maps as lists of {key, value}. The features
    `Image`, `Audio` and `Video` of Hugging Face `datasets`, at any depth, come as what was stored: the file's bytes if
    they are in it, else its path; nothing is decoded. `shard.parquet row 17` counts from 0.

    The first time, the files are unpacked into the cache, which takes the room that they need uncompressed; later they
    are recognised by size, times and index, and not read again.
    """

    name = "parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def build(self) -> Rows:
        """Unpack the files into the cache, or find them there."""
        from a2a_data.cache import stamp_key
        from a2a_data.parquet_reader import ParquetRows, tables
        from a2a_data.rows import open_rows

        return open_rows(self, ParquetRows, stamp_key, tables)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three rows, one with bytes and one with a path."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        media = [{"bytes": b"\x00\x01", "path": None}, {"bytes": None, "path": "b.png"}, None]
        table = pa.table({"id": ["a", "b", "c"], "image": media, "label": [1, None, 0]})
        pq.write_table(table, folder / "tiny.parquet")
        return cls(path=folder / "tiny.parquet")
