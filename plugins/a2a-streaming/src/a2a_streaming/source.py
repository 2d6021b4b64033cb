"""What streaming sources have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from a2a_core.components import SourceConfig
from a2a_core.options import Location, option


class StreamingSource(SourceConfig):
    """Rows of shards, read as they come: on this machine, over http, or wherever a package of fsspec reaches (`s3://…`)."""

    streams = True
    may_change = frozenset({"path", "retries", "timeout", "storage_options"})
    suffixes: ClassVar[tuple[str, ...]] = ()
    path: Location | list[Location] = option(
        "a file, a folder, or a pattern such as `https://host/{000..999}.tar` or `data/*.tar`; or a list of them"
    )
    columns: dict[str, str] = option("field = the column that it is read from; all other columns stay as they are", default={})
    id: str = option('column that names the rows; a row without gets its place (`""`: all do)', default="id")
    limit: int | None = option("read only this many rows, the first ones, to try things out", default=None, ge=1)
    shuffle: int = option("rows that wait, in all lanes together, for one of them to be drawn; 0: none", default=1000, ge=0)
    lanes: int = option("sequences that an epoch is dealt out in; 0: as ranks, workers and batches need", default=0, ge=0)
    retries: int = option("how often a request that failed is made again, after 0.5, 1, 2 … seconds", default=3, ge=0)
    timeout: float = option("seconds that a request for a piece of a file may take", default=60.0, gt=0)
    storage_options: dict[str, Any] = option("options of fsspec's file system, such as `{ anon = true }`", default={})

    def check(self) -> None:
        """Some path, and no field without a column."""
        if not self.locations():
            raise ValueError("`path` names no file")
        empty = [field for field, column in self.columns.items() if not column]
        if empty:
            raise ValueError(f"`columns` names no column for `{empty[0]}`")

    def locations(self) -> Sequence[str]:
        """`path` as a list."""
        return [self.path] if isinstance(self.path, str) else self.path

    def alternatives(self, column: str) -> tuple[str, ...]:
        """The columns that a name in `columns` stands for; the first one that a row has is taken."""
        return (column,)
