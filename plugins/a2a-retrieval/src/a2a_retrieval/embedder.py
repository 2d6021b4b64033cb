"""Rows to vectors, fast: sorted by length over large buffers, batched by tokens, what occurs twice computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from a2a_core.data import BadRow
from a2a_core.errors import A2AError
from a2a_core.evaluate import moved
from a2a_core.inference import Trained, precision
from a2a_core.structures import Item, Row
from a2a_retrieval.multi_vector import MultiVectorHead
from a2a_retrieval.scoring import unit
from a2a_retrieval.side_reading import SIDES, Buffer, SideReading, head_of, weight
from a2a_retrieval.sides import SidesHead

CPU, GPU = (1024, 1 << 24), (1 << 16, 1 << 28)
"""Padded tokens, and bytes of processed media, of a batch: on a CPU so few that what layers make of them stays in its cache."""

ENOUGH, ALIKE = 8, 0.93
"""A batch ends before an item with a smaller share of its longest one's tokens, once it has an eighth of what it may have."""


class Embedded(NamedTuple):
    """Rows that follow one another in the input, embedded."""

    rows: list[Row]
    """Those that could be read, in order."""
    numbers: list[int]
    """Which rows of the input they are, from 0 on."""
    vectors: Tensor
    """(N, D) float32, on the CPU; of a head with a vector a token (M, D), those of a row after those of the row before."""
    lengths: Tensor | None
    """(N,) int64, how many each row has, where that is not one."""
    bad: dict[int, BadRow]
    """The others, by their numbers."""


def unheard(items: int) -> None:
    """Nobody wants to know how far it is."""


class Embedder:
    """A run's model as one that embeds. `dimension`: only so many first numbers of each vector, of length 1 again (Matryoshka).

    A batch has at most `batch_tokens` tokens, padding included, and `batch_size` items; None: as the device can take.
    """

    def __init__(
        self,
        trained: Trained,
        head: str | None = None,
        dimension: int | None = None,
        batch_tokens: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.trained, self.head = trained, head_of(trained, head)
        self.config = cast("SidesHead", trained.model.parts.heads[self.head])
        self.module = cast("Any", trained.model.heads[self.head])
        self.late = isinstance(self.config, MultiVectorHead)
        self.normalise = bool(getattr(self.config, "normalise", True))
        self.device = next(trained.model.parameters()).device
        tokens, self.bytes = CPU if self.device.type == "cpu" else GPU
        self.tokens, self.items = batch_tokens or tokens, batch_size or tokens
        self.full = int(self.module.width)
        if dimension is not None and dimension > self.full:
            raise A2AError(f"vectors of {dimension} numbers are asked for, and those of head `{self.head}` have {self.full}")
        self.dimension = dimension or self.full

    def reading(self, side: str, field: str = "") -> SideReading:
        """How rows are read for a side."""
        return SideReading(self.trained, self.config, side, field)

    def readings(self, field: str = "") -> dict[str, SideReading]:
        """For queries, and for documents."""
        return {side: self.reading(side, field) for side in SIDES}

    def embed(self, rows: Iterable[Row], reading: SideReading, told: Callable[[int], None] = unheard) -> Iterator[Embedded]:
        """All rows in order, a buffer at a time; `told` hears of each batch how many it has."""
        for buffer in reading.buffers(rows, cost):
            yield self.embedded(buffer, reading, told)

    def embedded(self, buffer: Buffer, reading: SideReading, told: Callable[[int], None]) -> Embedded:
        """One buffer."""
        found: list[tuple[list[int], Tensor, Tensor | None]] = []
        for batch in batches(buffer.items, self.tokens, self.items, self.bytes):
            found.append((batch, *self.computed([buffer.items[place] for place in batch], reading)))
            told(len(batch))
        which = torch.tensor(buffer.which, dtype=torch.int64)
        if not found:
            return self.nothing()._replace(bad=buffer.bad)
        places = torch.tensor([place for batch, _, _ in found for place in batch]).argsort()[which]
        vectors = torch.cat([vectors for _, vectors, _ in found])
        if not self.late:
            return Embedded(buffer.rows, buffer.numbers, vectors[places.to(vectors.device)].cpu(), None, buffer.bad)
        lengths = torch.cat([cast("Tensor", length) for _, _, length in found])
        parts = vectors.split(lengths.tolist())
        return Embedded(
            buffer.rows, buffer.numbers, torch.cat([parts[place] for place in places.tolist()]), lengths[places], buffer.bad
        )

    def nothing(self) -> Embedded:
        """Of no rows."""
        return Embedded([], [], torch.zeros(0, self.dimension), torch.zeros(0, dtype=torch.int64) if self.late else None, {})

    def computed(self, items: Sequence[Item], reading: SideReading) -> tuple[Tensor, Tensor | None]:
        """Vectors of a batch (N, D), on the device; where there is one a token (M, D), on the CPU, and how many an item has."""
        tensors = moved(reading.medium.processor.pad(items), self.device)
        with torch.inference_mode():
            with precision(self.trained):
                found = self.module.vectors(reading.side, self.trained.model.tokens(reading.key, tensors))
            vectors, mask = found if self.late else (found, None)
            vectors = vectors[..., : self.dimension].float()
            if self.normalise and self.dimension < self.full:
                vectors = unit(vectors)
            return (vectors, None) if mask is None else (vectors[mask].cpu(), mask.sum(1).cpu())


def cost(item: Item) -> int:
    """Tokens of an item: those that its encoder makes, or reads, where it makes one of many."""
    read = [len(ids) for ids in item.tensors.values() if ids.dim() == 1 and not ids.is_floating_point()]
    return max(1, item.length, *read)


def batches(items: Sequence[Item], tokens: int, most: int, size: int) -> Iterator[list[int]]:
    """Places of items that share a batch: the longest first, so that what does not fit into memory shows at once.

    A batch that is large enough to be computed well ends where the next item is much shorter.
    """
    costs = [cost(item) for item in items]
    order = sorted(range(len(items)), key=costs.__getitem__, reverse=True)
    start = 0
    while start < len(order):
        longest = costs[order[start]]
        limit = start + max(1, min(most, tokens // longest, size // max(1, weight(items[order[start]]))))
        stop = min(len(order), limit, start + -(-tokens // (longest * ENOUGH)))
        while stop < min(len(order), limit) and costs[order[stop]] >= ALIKE * longest:
            stop += 1
        yield order[start:stop]
        start = stop
