"""Queries to the documents that fit them best, whether these are embedded now or lie in a file of vectors."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from a2a_retrieval.embedder import Embedded
from a2a_retrieval.exact import Found, nearest


def nearest_of_blocks(queries: Tensor, query_lengths: Tensor | None, blocks: Iterable[Embedded], k: int) -> Found:
    """As `nearest`, of documents that come block by block; places count all rows that could be read."""
    size = len(queries) if query_lengths is None else len(query_lengths)
    found, start = Found(torch.zeros(size, 0), torch.zeros(size, 0, dtype=torch.int64)), 0
    for block in blocks:
        if not block.rows:
            continue
        lengths = None if block.lengths is None else block.lengths.tolist()
        found = found.joined(nearest(queries, query_lengths, block.vectors, lengths, k), start, k)
        start += len(block.rows)
    return found


def whole(blocks: Iterable[Embedded]) -> Embedded:
    """All blocks as one."""
    every = list(blocks)
    if len(every) == 1:
        return every[0]
    lengths = [block.lengths for block in every if block.lengths is not None]
    return Embedded(
        [row for block in every for row in block.rows],
        [number for block in every for number in block.numbers],
        torch.cat([block.vectors for block in every]),
        torch.cat(lengths) if lengths else None,
        {number: bad for block in every for number, bad in block.bad.items()},
    )
