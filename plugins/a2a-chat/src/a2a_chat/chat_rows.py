"""Rows of a file, each in the one form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from a2a_chat.formats import fitting, nothing
from a2a_core.components import Rows
from a2a_core.errors import A2AError
from a2a_core.structures import Row

LOOKED_AT = 100
"""Rows by which a format is recognised."""
UNREADABLE = "unreadable"
"""The field that says why a row is in no form: a source raises for no row, the collator sets it aside."""


class ChatRows:
    """Conversations and texts."""

    def __init__(self, rows: Rows, canonical: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self._rows, self._canonical = rows, canonical

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int, /) -> Row:
        row = self._rows[index]
        try:
            return row._replace(fields=self._canonical(row.fields))
        except ValueError as error:
            return row._replace(fields={**row.fields, UNREADABLE: str(error)})

    def column(self, field: str) -> Iterator[Any]:
        """See Rows."""
        if not any(field in row.fields for row in self._every()):
            names = dict.fromkeys(name for row in self._every() for name in row.fields if name != UNREADABLE)
            raise KeyError(f"no row of {self._rows} has a field `{field}`; there is {', '.join(f'`{name}`' for name in names)}")
        return (row.fields.get(field) for row in self._every())

    def _every(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))

    @property
    def notes(self) -> list[str]:
        """Those of the files."""
        return list(getattr(self._rows, "notes", ()))


def detected_format(rows: Rows) -> str:
    """The format of the first rows; A2AError where they have none."""
    first = [rows[index].fields for index in islice(range(len(rows)), LOOKED_AT)]
    found = fitting(first)
    if found is None:
        raise A2AError(
            f"the first {len(first)} rows of {rows} are no conversations and no texts: {nothing(first[0])}",
            hint='rename fields with `columns`, as in `columns = { text = "caption" }`',
        )
    return found
