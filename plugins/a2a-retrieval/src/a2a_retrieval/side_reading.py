"""What rows hold of one side, query or document: found, checked and processed, what occurs twice only once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from a2a_core.data import BadRow, Prepared, medium
from a2a_core.errors import A2AError, suggest
from a2a_core.inference import Lines, Trained, as_from
from a2a_core.media import media_of
from a2a_core.structures import Item, Row
from a2a_retrieval.beir import BeirSource
from a2a_retrieval.beir_rows import passage, text
from a2a_retrieval.pairs import content
from a2a_retrieval.sides import SidesHead

ROWS, TOKENS, BYTES = 1 << 15, 1 << 20, 1 << 28
"""What a buffer holds at most: the more it does, the more alike in length are those that share a batch."""
SIDES = ("query", "positive")


class SideReading:
    """Rows as the run's training source gives them, and what they hold of a side; `field` is read in place of the side's own.

    Where the run was trained on a BEIR folder, lines of its corpus and of its queries are rows, too.
    """

    def __init__(self, trained: Trained, head: SidesHead, side: str, field: str = "") -> None:
        self.side, self.key = side, head.sides()[side]
        found = medium(self.key, trained.model.parts.encoders[self.key])
        self.medium = found._replace(field=field) if field else found
        self.source = trained.loaded.recipe.data.get("train")

    @property
    def field(self) -> str:
        """Where a row has it."""
        return self.medium.field

    def known(self, row: Row) -> Row:
        """The row as its source would give it; ValueError where it cannot be read."""
        found = as_from(self.source, row, dict)
        if isinstance(found, BadRow):
            raise ValueError(found.reason)
        if (
            not isinstance(self.source, BeirSource)
            or self.field in found.fields
            or not isinstance(found.fields.get("text"), str)
        ):
            return found
        made = text(row) if self.side == "query" else passage(row)
        return found._replace(fields={**found.fields, self.field: made})

    def has(self, row: Row) -> bool:
        """Whether it has something of this side."""
        try:
            return bool(media_of(self.known(row), self.medium))
        except ValueError:
            return False

    def raw(self, known: Row) -> Any:
        """What stands there; ValueError where that is nothing, empty, or several."""
        several = media_of(known, self.medium)
        if not several:
            raise ValueError(f"there is nothing in field `{self.field}`")
        if len(several) > 1:
            raise ValueError(f"`{self.field}` holds {len(several)}: a row has one {self.side}")
        if isinstance(several[0], str):
            content(self.field, several[0])  # an empty text is none
        return several[0]

    def same(self, known: Row, raw: Any) -> Any:
        """What rows share that hold the same; None where that cannot be told."""
        if not isinstance(raw, (str, bytes)):
            return None
        bounds = [known.fields.get(name) for name in (self.medium.start, self.medium.end) if name]
        return raw, repr(bounds), known.root if self.medium.file else None

    def item(self, known: Row) -> Item:
        """It, processed; ValueError where that cannot be."""
        sample = Prepared(Lines([known]), {self.key: self.medium}, {}, bare=False)[0]
        if isinstance(sample, BadRow):
            raise ValueError(sample.reason)
        return sample.items[self.key][0]

    def buffers(self, rows: Iterable[Row], cost: Callable[[Item], int]) -> Iterator[Buffer]:
        """All rows, as many at a time as a buffer holds."""
        buffer = Buffer()
        for number, row in enumerate(rows):
            try:
                buffer.add(number, row, self, cost)
            except ValueError as error:
                buffer.bad[number] = BadRow(row, str(error))
            if buffer.full:
                yield buffer
                buffer = Buffer()
        if buffer.rows or buffer.bad:
            yield buffer


class Buffer:
    """Rows that follow one another: those that can be read, by `numbers` from 0 on, and `which` of the `items` each has."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.numbers: list[int] = []
        self.which: list[int] = []
        self.items: list[Item] = []
        self.bad: dict[int, BadRow] = {}
        self.places: dict[Any, int] = {}
        self.tokens = self.size = 0

    @property
    def full(self) -> bool:
        """Whether it holds enough."""
        return len(self.rows) + len(self.bad) >= ROWS or self.tokens >= TOKENS or self.size >= BYTES

    def add(self, number: int, row: Row, reading: SideReading, cost: Callable[[Item], int]) -> None:
        """One more; ValueError where it cannot be read."""
        known = reading.known(row)
        raw = reading.raw(known)
        key = reading.same(known, raw)
        place = self.places.get(key) if key is not None else None
        if place is None:
            item, place = reading.item(known), len(self.items)
            self.items.append(item)
            self.tokens, self.size = self.tokens + cost(item), self.size + weight(item)
            if key is not None:
                self.places[key] = place
        self.rows.append(row)
        self.numbers.append(number)
        self.which.append(place)


def weight(item: Item) -> int:
    """Bytes of its tensors."""
    return sum(tensor.nbytes for tensor in item.tensors.values())


def row_id(row: Row, side: str) -> str:
    """What a row calls its query or document: `query_id` or `positive_id`, `_id`, `id`, else the row's own, its number."""
    given = next((row.fields[name] for name in (f"{side}_id", "_id") if row.fields.get(name) is not None), row.id)
    return str(given)


def head_of(trained: Trained, name: str | None = None) -> str:
    """The head that embeds, by its key; A2AError where there is none of this name, or several without one."""
    heads = trained.model.parts.heads
    known = [key for key, head in heads.items() if isinstance(head, SidesHead)]
    if name is not None and name not in known:
        what = f"`{heads[name].name}`, which embeds nothing" if name in heads else "not there"
        raise A2AError(f"the head `{name}` is {what}", hint=suggest(name, known))
    if not known:
        raise A2AError("the run has no head that embeds queries and documents (`embedding`, `multi-vector`)")
    if name is None and len(known) > 1:
        raise A2AError(f"{len(known)} heads of the run embed: {', '.join(known)}", hint="choose one with `--head`")
    return name or known[0]


def side_of(row: Row, readings: dict[str, SideReading], preferred: str = "") -> str:
    """The side that a row has something of, of both the preferred one; A2AError where that cannot be told."""
    found = [side for side, reading in readings.items() if reading.has(row)]
    if preferred in found or len(found) == 1:
        return preferred if preferred in found else found[0]
    query, positive = (f"`{reading.field}`" for reading in readings.values())
    if found:
        raise A2AError(f"{row.place} has both {query} and {positive}", hint="say which with `--side`")
    there = ", ".join(f"`{field}`" for field in row.fields) or "nothing"
    raise A2AError(
        f"{row.place} has neither {query} nor {positive}", hint=f"it has {there}; `--side` and `--field` say what is read"
    )
