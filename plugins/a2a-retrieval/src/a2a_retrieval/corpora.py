"""What is searched: a file of vectors, or rows that are embedded now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from a2a_core.data import BadRow
from a2a_core.errors import A2AError
from a2a_core.structures import Row
from a2a_retrieval.embedder import Embedded, Embedder, unheard
from a2a_retrieval.exact import Found, nearest
from a2a_retrieval.searching import nearest_of_blocks
from a2a_retrieval.side_reading import SideReading, row_id
from a2a_retrieval.vectors import Vectors

Rows = Callable[[], Iterable[Row]]
"""Rows, from the first on, each time it is called."""


class VectorCorpus:
    """Documents at places 0, 1, …, known by ids: a file of vectors, and, found by these, the rows that they were made of."""

    def __init__(self, vectors: Vectors, rows: Rows | None = None) -> None:
        if not vectors.ids:
            raise A2AError(f"{vectors.path} has no vectors")
        self.vectors, self.given, self.ids = vectors, rows, vectors.ids
        self.bad: list[BadRow] = []

    def nearest(self, queries: Embedded, k: int) -> Found:
        """The k best for each query, block by block of the file; fewer where there are not so many."""
        lengths = None if self.vectors.lengths is None else self.vectors.lengths.tolist()
        return nearest(queries.vectors, queries.lengths, self.vectors, lengths, k)

    def rows(self, places: Collection[int]) -> dict[int, Row]:
        """The rows at these places, as far as they are there."""
        wanted = {self.ids[place] for place in places}
        side = self.vectors.origin.side
        rows = self.given() if self.given is not None else ()
        found = {name: row for row in rows if (name := row_id(row, side)) in wanted}
        return {place: found[self.ids[place]] for place in places if self.ids[place] in found}


class RowCorpus:
    """Rows, embedded block by block when they are searched; `bad` are those that could not be."""

    def __init__(self, embedder: Embedder, reading: SideReading, rows: Rows, told: Callable[[int], None] = unheard) -> None:
        self.embedder, self.reading, self.given, self.told = embedder, reading, rows, told
        self.ids: list[str] = []
        self.numbers: list[int] = []
        self.bad: list[BadRow] = []

    def nearest(self, queries: Embedded, k: int) -> Found:
        """A2AError where there is no document."""
        self.ids, self.numbers, self.bad = [], [], []
        found = nearest_of_blocks(queries.vectors, queries.lengths, self.blocks(), k)
        if not self.ids:
            reason = f": {self.bad[0].row.place}: {self.bad[0].reason}" if self.bad else ""
            raise A2AError(f"the corpus has no document that can be read{reason}")
        return found

    def blocks(self) -> Iterator[Embedded]:
        """All of it, noting what its rows are called."""
        for block in self.embedder.embed(self.given(), self.reading, self.told):
            self.ids += [row_id(row, self.reading.side) for row in block.rows]
            self.numbers += block.numbers
            self.bad += block.bad.values()
            yield block

    def rows(self, places: Collection[int]) -> dict[int, Row]:
        """Read again: what was not found need not be held."""
        wanted = {self.numbers[place]: place for place in places}
        return {wanted[number]: row for number, row in enumerate(self.given()) if number in wanted}
