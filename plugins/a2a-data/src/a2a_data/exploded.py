"""One row, many samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from a2a_core.errors import A2AError
from a2a_core.structures import Row
from a2a_data.rows import FileRows, NamedRows

KEPT = 1 << 23
"""Bytes of the table whose rows are kept parsed, which takes some ten times as much; the latest row is kept in any case."""


class Parsed(NamedTuple):
    """A row of the files, without its list."""

    row: Row
    items: Sequence[Any]
    size: int
    """Bytes in the table."""


class ExplodedRows(NamedRows):
    """Each item of a row's list in `column` as a sample.

    An object's keys stand over the row's own (its `label`, `start`, `end` replace the row's) and the list itself is gone;
    any other item takes the list's place. Sample n of row `a` is called `a#n`, its place is `train.jsonl:17 segments[n]`.
    A row whose list is empty, null or absent gives none. Samples are found by bisection in what the rows before give (8
    bytes a row, however long the lists; made again where it is unpickled), and read when they are asked for. A row is
    parsed whole, so those that were asked for lately are kept, up to `KEPT`: samples share them, and change nothing in them.
    """

    def __init__(self, rows: FileRows, column: str, counts: Path, columns: dict[str, str]) -> None:
        super().__init__(columns)
        self._rows, self._column, self._counts = rows, column, counts
        self._open()
        if not len(self):
            raise A2AError(f"`{column}` is empty in every row of {rows}: there is no sample")

    def _open(self) -> None:
        self._lately: dict[int, Parsed] = {}
        self._kept = 0
        self._ends = np.cumsum(np.load(self._counts, mmap_mode="r")[: len(self._rows)], dtype=np.int64)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_ends", "_lately", "_kept")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def notes(self) -> list[str]:
        """What gives no sample."""
        bare = int(np.count_nonzero(np.diff(self._ends, prepend=0) == 0))
        rows = f"{bare} of {len(self._rows)} rows of {self._rows}"
        return self._rows.notes + ([f"{rows} have nothing in `{self._column}` and give no sample"] if bare else [])

    def raw(self, index: int) -> Row:
        """See NamedRows."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        row, items, _ = self._parsed(number)
        which = index - int(self._ends[number]) + len(items)
        item = items[which]
        fields = {**row.fields, **(item if isinstance(item, dict) else {self._column: item})}
        return Row(fields, f"{row.id}#{which}", row.root, f"{row.place} {self._column}[{which}]")

    def _parsed(self, number: int) -> Parsed:
        """A row and its items, as the latest that was asked for."""
        found = self._lately.pop(number, None)
        if found is None:
            row, size = self._rows.raw(number), self._rows.size(number)
            fields = {name: value for name, value in row.fields.items() if name != self._column}
            found = Parsed(row._replace(fields=fields), self._rows.items(row.fields[self._column]), size)
            self._kept += size
        self._lately[number] = found
        while self._kept > KEPT and len(self._lately) > 1:
            self._kept -= self._lately.pop(next(iter(self._lately))).size
        return found

    def values(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Reads these columns and the lists."""
        for value, *own in self._rows.values(self._column, *columns):
            record = {name: value for name, value in zip(columns, own, strict=True) if name != self._column}
            for item in self._list(value):
                fields = record | (item if isinstance(item, dict) else {self._column: item})
                yield tuple(map(fields.get, columns))

    def has(self, column: str) -> bool:
        """Looks no further than the first row or item that has it."""
        own = column != self._column and self._rows.has(column)
        return own or any(column in names for names in self._item_names())

    def names(self) -> list[str]:
        """The files' columns and the items' keys."""
        own = [name for name in self._rows.names() if name != self._column]
        return list(dict.fromkeys([*own, *(name for names in self._item_names() for name in names)]))

    def _item_names(self) -> Iterator[list[str]]:
        lists = (self._list(value) for (value,) in self._rows.values(self._column))
        return (list(item) if isinstance(item, dict) else [self._column] for items in lists for item in items)

    def _list(self, value: Any) -> Sequence[Any]:
        """A row's items; none where there is no list, which only rows beyond the limit may have."""
        try:
            return self._rows.items(value)
        except ValueError:
            return ()

    def __str__(self) -> str:
        return str(self._rows)
