"""Rows of a data set that the library `datasets` opens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Audio, ClassLabel, Dataset, DatasetDict, Features, Image, List, Video, load_dataset, load_from_disk
from datasets.exceptions import DatasetGenerationError

from a2a_core.errors import A2AError, suggest
from a2a_core.structures import Row
from a2a_data.parquet_reader import medium
from a2a_data.rows import NamedRows, must_have

if TYPE_CHECKING:
    from a2a_data.saved import DatasetsSource

SAVED, SEVERAL = "state.json", "dataset_dict.json"
READ = 1000
"""Rows of a column that are read at once."""


class SavedRows(NamedRows):
    """Rows by index."""

    def __init__(self, data: Dataset, source: DatasetsSource) -> None:
        super().__init__(dict(source.columns))
        self.data, self.path, self.id = data, source.path, source.id
        self.limit = min(len(data), source.limit or len(data))
        self.kinds: Features = data.features

    def check(self) -> None:
        """A2AError for columns that are not there."""
        for column in [*self._columns.values(), *([self.id] if self.id not in ("", "id") else [])]:
            must_have(self, column)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.limit

    def raw(self, index: int) -> Row:
        """See NamedRows."""
        record = {name: told(self.kinds[name], value) for name, value in self.data[index].items()}
        name = record.get(self.id) if self.id else None
        return Row(record, str(index if name is None else name), self.path, f"{self} row {index}")

    def values(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Reads these columns alone."""
        known = self.data.select_columns([column for column in columns if self.has(column)])
        for start in range(0, len(self.data), READ):
            found = known[start : start + READ]
            none = [None] * min(READ, len(self.data) - start)
            each = (map(told, repeat(self.kinds[name]), found[name]) if name in found else none for name in columns)
            yield from zip(*each, strict=True)

    def has(self, column: str) -> bool:
        """The data set has the column, be it empty."""
        return column in self.data.column_names

    def names(self) -> list[str]:
        """The data set's columns."""
        return list(self.data.column_names)

    def __str__(self) -> str:
        return self.path.name


def told(kind: Any, value: Any) -> Any:
    """A class's name for its number; the bytes or the path of a medium."""
    if isinstance(kind, ClassLabel):
        return None if value is None or value < 0 else kind.int2str(value)
    if isinstance(kind, (Image, Audio, Video)):
        return medium(value)
    if isinstance(kind, List):
        return None if value is None else [told(kind.feature, each) for each in value]
    return value


def opened(path: Path, split: str, config: str) -> Dataset:
    """The data set, its media not decoded; A2AError where there is none."""
    try:
        if (path / SAVED).is_file() or (path / SEVERAL).is_file():
            found: Any = load_from_disk(str(path))
        else:
            found = load_dataset(str(path), config or None)
    except IndexError as error:  # what the library makes of a data set that was saved without a row
        raise A2AError(f"the data set {path} has no rows") from error
    except (OSError, ValueError, RuntimeError, DatasetGenerationError) as error:  # of code beside the data: RuntimeError
        cause = error.__cause__ or error
        raise A2AError(f"{path} cannot be read as a data set: {str(cause).splitlines()[0]}") from error
    if isinstance(found, DatasetDict):
        if split not in found:
            raise A2AError(f"the data set {path} has no split `{split}`", hint=suggest(split, found))
        found = found[split]
    if not len(found):
        raise A2AError(f"the data set {path} has no rows")
    return undecoded(found)


def undecoded(data: Dataset) -> Dataset:
    """With media as they were stored."""
    features = data.features.copy()
    for name, kind in features.items():
        features[name] = stored(kind)
    return data.cast(features) if features != data.features else data


def stored(kind: Any) -> Any:
    """A feature that is not decoded."""
    if isinstance(kind, (Image, Audio, Video)):
        return type(kind)(decode=False)
    return List(stored(kind.feature)) if isinstance(kind, List) else kind
