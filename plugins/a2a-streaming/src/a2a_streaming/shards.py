"""Shards of files as a stream: what the formats have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from a2a_core.errors import A2AError, Problem
from a2a_core.streams import At, Lane, ShardLane
from a2a_core.structures import BadRow, Row
from a2a_streaming.access import LARGEST, SMALLEST, Access, Reader
from a2a_streaming.listing import labels, listed, root

if TYPE_CHECKING:
    from a2a_streaming.source import StreamingSource

BLOCKS = 1 << 26
"""Bytes that the blocks of all lanes may take together."""
TRIED, SEEN = 3, 16
"""Shards of which one must have a row before anything begins; rows whose columns are looked at."""


class Record(NamedTuple):
    """A row as it is stored."""

    at: At
    name: str
    """What tells it from the shard's others, behind the shard's name: `:17`."""
    fields: Mapping[str, Any] | str
    """A text: what is wrong with it."""


class Files(ABC):
    """The shards of a source (see a2a_core.streams.Shards); what a shard holds is the format's own."""

    def __init__(self, source: StreamingSource, urls: Sequence[str]) -> None:
        self.urls, self.names, self.id = urls, labels(urls), source.id
        self.access = Access(source.storage_options, source.retries, source.timeout)
        self.columns = {field: source.alternatives(column) for field, column in source.columns.items()}
        self.taken = {*self.columns, *(each for several in self.columns.values() for each in several)}
        self.largest = LARGEST
        self.stops: list[int | None] = [None] * len(urls)
        """The row of each shard that is not read any more, nor those behind it."""

    def __len__(self) -> int:
        return len(self.urls)

    def place(self, shard: int) -> str:
        """Its name, relative to the folder that all have in common."""
        return self.names[shard]

    def rows(self, shard: int, start: At | None, wanted: Callable[[int], bool]) -> Iterator[tuple[At, Row | BadRow]]:
        """See a2a_core.streams.Shards."""
        stop, name, folder = self.stops[shard], self.names[shard], root(self.urls[shard])
        with Reader(self.access, self.urls[shard], self.largest) as file:
            for record in self.records(file, start or At(0), wanted):
                if stop is not None and record.at.number >= stop:
                    return
                yield record.at, self.row(record, name + record.name, folder)

    @abstractmethod
    def records(self, file: Reader, start: At, wanted: Callable[[int], bool]) -> Iterator[Record]:
        """The wanted rows from `start` on; OSError or ValueError where the file cannot be read any further."""

    def row(self, record: Record, place: str, folder: Path) -> Row | BadRow:
        """As the recipe wants it."""
        if isinstance(record.fields, str):
            return BadRow(Row({}, place, folder, place), record.fields)
        name = record.fields.get(self.id) if self.id else None
        return Row(self.renamed(record.fields), place if name is None else str(name), folder, place)

    def renamed(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fields under the names that the recipe gives them."""
        if not self.columns:
            return fields
        found = {name: value for name, value in fields.items() if name not in self.taken}
        for field, several in self.columns.items():
            column = next((each for each in several if each in fields), None)
            if column is not None:
                found[field] = fields[column]
        return found

    def limited(self, limit: int) -> None:
        """Keep the first rows alone: they are read to see in which shards they lie."""
        left = limit
        stops: list[int | None] = []
        while left and len(stops) < len(self):
            stop = 0
            for at, _ in islice(self.read(len(stops)), left):
                stop, left = at.number + 1, left - 1
            stops.append(stop)
        self.urls, self.names, self.stops = self.urls[: len(stops)], self.names[: len(stops)], stops

    def read(self, shard: int) -> Iterator[tuple[At, Row | BadRow]]:
        """All rows of a shard; a shard that cannot be read is an error."""
        try:
            yield from self.rows(shard, None, everything)
        except (OSError, ValueError) as error:
            raise A2AError(f"{self.place(shard)} cannot be read: {error}") from error


def everything(number: int) -> bool:  # noqa: ARG001
    """Every row is wanted."""
    return True


class FileStream:
    """A stream over files; see a2a_core.streams.Stream."""

    def __init__(self, source: StreamingSource, make: Callable[[StreamingSource, Sequence[str]], Files]) -> None:
        urls = listed(source.locations(), source.suffixes, source.storage_options)
        self.shards, self.buffer, self.dealt = make(source, urls), source.shuffle, source.lanes
        if source.limit is not None:
            self.shards.limited(source.limit)

    def lanes(self, wanted: int) -> int:
        """As many as are wanted, if the source does not say how many."""
        return self.dealt or wanted

    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Lane:
        """One of them; all lanes together hold as many rows as the source says, in blocks of at most BLOCKS bytes."""
        self.shards.largest = max(SMALLEST, min(BLOCKS // lanes, LARGEST))
        return ShardLane(self.shards, lane, lanes, seed, epoch, state, buffer=max(1, -(-self.buffer // lanes)))

    def first(self, several: int) -> list[Row]:
        """From the first shards that can be read; A2AError where the very first cannot, one and all."""
        found: list[Row] = []
        problems: list[Problem] = []
        for shard in range(len(self.shards)):
            try:
                rows = (row for _, row in self.shards.read(shard) if isinstance(row, Row))
                found += islice(rows, several - len(found))
            except A2AError as error:
                problems += error.problems
            if len(found) == several or (len(problems) == TRIED and not found):
                break
        if not found:
            raise A2AError(problems or f"{self.shards.place(0)} and all that is behind it have no rows")
        return found

    @cached_property
    def notes(self) -> list[str]:
        """How many shards there are, and columns that are probably misspelt."""
        several = len(self.shards)
        found = [f"{several} shards, {self.shards.place(0)} the first" if several > 1 else f"one shard, {self.shards.place(0)}"]
        if self.shards.columns:
            known = {name: None for row in self.first(SEEN) for name in row.fields}
            missing = [" or ".join(several) for field, several in self.shards.columns.items() if field not in known]
            names = ", ".join(f"`{name}`" for name in known)
            found += [f"none of the first {SEEN} rows has the column `{each}`; they have {names}" for each in missing]
        return found
