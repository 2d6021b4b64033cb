"""Features as the items of rows: what a data set gives, and a collator pads, in an encoder's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from a2a_core.features import MASK, VALUES
from a2a_core.features.shard import NOTHING, Shard
from a2a_core.features.store import Place
from a2a_core.structures import Item, Processor

MISSING = -1


class FeatureTable:
    """A split's features of one encoder: a row's items are views of mapped files, so that nothing is opened or copied."""

    def __init__(self, rows: Sequence[Sequence[bytes | None]], found: Mapping[bytes, Place]) -> None:
        shards = {id(place.shard): place.shard for place in found.values()}
        numbers = {name: number for number, name in enumerate(shards)}
        self.shards: list[Shard] = list(shards.values())
        self.offsets = np.cumsum([0, *map(len, rows)])
        places = [None if key is None else found.get(key) for keys in rows for key in keys]
        self.shard = np.array([MISSING if place is None else numbers[id(place.shard)] for place in places], np.int32)
        self.index = np.array([0 if place is None else place.entry for place in places], np.int64)

    def items(self, row: int) -> list[Item] | None:
        """A row's items; None where one of its media could not be read when features were computed."""
        found = []
        for place in range(self.offsets[row], self.offsets[row + 1]):
            if self.shard[place] == MISSING:
                return None
            shard, index = self.shards[self.shard[place]], self.index[place]
            length = int(shard.lengths[index])
            if length != NOTHING:
                start, stop = shard.offsets[index], shard.offsets[index + 1]
                found.append(Item({VALUES: shard.values[start:stop], MASK: shard.mask[start:stop]}, length))
        return found


class FeatureProcessor:
    """Stands in for an encoder's processor where its features are computed."""

    deterministic = True

    def __init__(self, width: int, dtype: torch.dtype, shortest: int) -> None:
        self.width, self.dtype, self.shortest = width, dtype, shortest

    def __call__(self, raw: object) -> Item:
        """Never asked for: items come from a table."""
        raise ValueError("its features were computed before the training")

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Values (N, T, C) as the encoder gave them, zero in padding, and mask (N, T)."""
        each, masks = [item.tensors[VALUES] for item in items], [item.tensors[MASK] for item in items]
        longest = max(map(len, each))
        values = torch.empty(len(items), longest, self.width, dtype=self.dtype)
        mask = torch.zeros(len(items), longest, dtype=torch.bool)
        for place, (value, real) in enumerate(zip(each, masks, strict=True)):
            values[place, : len(value)] = value
            values[place, len(value) :] = 0
            mask[place, : len(value)] = real
        return {VALUES: values, MASK: mask}

    def dummy(self) -> Item:
        """As many tokens as the encoder makes of its own dummy."""
        values = torch.zeros(self.shortest, self.width, dtype=self.dtype)
        return Item({VALUES: values, MASK: torch.ones(self.shortest, dtype=torch.bool)}, self.shortest)


def replaced(processor: Processor, width: int, dtype: torch.dtype) -> FeatureProcessor:
    """What stands in for a processor."""
    return FeatureProcessor(width, dtype, processor.dummy().length)
