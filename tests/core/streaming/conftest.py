from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from a2a_core import Row
from a2a_core.streams import At, ShardLane
from a2a_core.structures import BadRow


class Shelf:
    """Shards of so many rows each, in memory; tells which rows were decoded. A shard in `broken` ends at that row."""

    def __init__(self, *sizes: int, broken: Mapping[int, int] | None = None) -> None:
        self.sizes, self.broken = sizes, broken or {}
        self.decoded: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.sizes)

    def place(self, shard: int) -> str:
        return f"shard-{shard}"

    def rows(self, shard: int, start: At | None, wanted: Callable[[int], bool]) -> Iterator[tuple[At, Row | BadRow]]:
        for number in range(0 if start is None else start.number, self.sizes[shard] + 1):
            if self.broken.get(shard) == number:
                raise OSError("half a body")
            if number < self.sizes[shard] and wanted(number):
                self.decoded.append((shard, number))
                yield At(number, 10 * number), row(shard, number)


def row(shard: int, number: int) -> Row:
    fields = {"left": [float(number)], "right": [float(shard)], "value": float(number)}
    return Row(fields, f"{shard}/{number}", Path("/"), f"shard-{shard}:{number}")


class Stream:
    """A stream over a shelf."""

    def __init__(self, shelf: Shelf, buffer: int = 4, most: int = 10**6) -> None:
        self.shelf, self.buffer, self.most = shelf, buffer, most
        self.notes: list[str] = []

    def lanes(self, wanted: int) -> int:
        return min(wanted, self.most)

    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> ShardLane:
        return ShardLane(self.shelf, lane, lanes, seed, epoch, state, self.buffer)

    def first(self, several: int) -> list[Row]:
        return [row(shard, number) for shard, size in enumerate(self.shelf.sizes) for number in range(size)][:several]

    def all(self) -> list[str]:
        return sorted(each.id for each in self.first(10**9))


@pytest.fixture(scope="session")
def shelf() -> type[Shelf]:
    """The class: a property-based test makes many."""
    return Shelf


@pytest.fixture(scope="session")
def stream() -> Callable[..., Stream]:
    """A stream over shards of so many rows."""
    return lambda *sizes, broken=None, **options: Stream(Shelf(*sizes, broken=broken), **options)
