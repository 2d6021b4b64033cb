"""What sources over files have in common."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from a2a_core.components import SourceConfig
from a2a_core.options import option


class FileSource(SourceConfig):
    """Rows of files. A row's relative media paths start in the folder of its file.

    `explode` comes before `columns`, which may thus name what its items hold. See ExplodedRows for what samples look like.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    may_change = frozenset({"path"})
    path: Path = option("a file, a folder of such files, or a pattern such as `data/*.parquet`", exists=True)
    columns: dict[str, str] = option("field = the column that it is read from; all other columns stay as they are", default={})
    id: str = option('column that names the rows, each differently; a row without gets its number (`""`: all do)', default="id")
    explode: str = option("column of lists: each item of a row's list becomes a sample of its own", default="")
    limit: int | None = option("read only this many rows of the files, to try things out", default=None, ge=1)

    def check(self) -> None:
        """No field without a column."""
        empty = [field for field, column in self.columns.items() if not column]
        if empty:
            raise ValueError(f"`columns` names no column for `{empty[0]}`")
