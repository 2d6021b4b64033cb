"""The source `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.components import SourceConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from a2a_core.components import Rows


class DatasetsSource(SourceConfig):
    """A folder of Hugging Face `datasets`: one that `save_to_disk` wrote, or one as their hub has it, a data set's own.

    What `save_to_disk` wrote is memory-mapped as it lies. Of another folder the library finds the files of a split (JSON
    lines, CSV, Parquet, Arrow, text, folders of media) and keeps them in its cache. Class labels come as their names, media
    (`Image`, `Audio`, `Video`) as what was stored: bytes, else a path; nothing is decoded and no code of a data set is run.
    """

    name = "datasets"
    may_change = frozenset({"path"})
    path: Path = option("the folder", exists=True)
    split: str = option("which of its splits, where it has several", default="train")
    config: str = option("which of its configurations, where it has several", default="")
    columns: dict[str, str] = option("field = the column that it is read from; all other columns stay as they are", default={})
    id: str = option('column that names the rows; a row without gets its number (`""`: all do)', default="id")
    limit: int | None = option("read only this many rows, to try things out", default=None, ge=1)

    def build(self) -> Rows:
        """Open the folder; A2AError where it holds no data set, or not the split."""
        from a2a_data.saved_rows import SavedRows, opened

        rows = SavedRows(opened(self.path, self.split, self.config), self)
        rows.check()
        return rows

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three rows, as `save_to_disk` writes them."""
        from datasets import ClassLabel, Dataset, Features, Value

        features = Features({"id": Value("string"), "text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
        columns = {"id": ["a", "b", "c"], "text": ["one", None, "three"], "label": [0, 1, 1]}
        Dataset.from_dict(columns, features).save_to_disk(folder / "saved")
        return cls(path=folder / "saved")
