"""Queries to the documents that fit them best, whether these are embedded now or lie in a file of vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from a2a_retrieval.embedder import Embedded
from a2a_retrieval.exact import Found, top, top_late


def nearest(queries: Tensor, query_lengths: Tensor | None, documents: Any, lengths: Sequence[int] | None, k: int) -> Found:
    """The k best documents of each query: of vectors (Q, D) and (N, D), or flat ones (…, D) with how many each row has."""
    if query_lengths is None or lengths is None:
        return top(queries, documents, k)
    parts = queries.split(query_lengths.tolist())
    padded = pad_sequence(parts, batch_first=True) if parts else queries.new_zeros(0, 0, queries.shape[-1])
    mask = torch.arange(padded.shape[1]) < query_lengths[:, None]
    return top_late(padded, mask, documents, lengths, k)


def nearest_of_blocks(queries: Tensor, query_lengths: Tensor | None, blocks: Iterable[Embedded], k: int) -> Found:
    """The same of documents that come block by block; places count all rows that could be read."""
    size = len(queries) if query_lengths is None else len(query_lengths)
    found, start = Found(torch.zeros(size, 0), torch.zeros(size, 0, dtype=torch.int64)), 0
    for block in blocks:
        if not block.rows:
            continue
        lengths = None if block.lengths is None else block.lengths.tolist()
        scores, places = nearest(queries, query_lengths, block.vectors, lengths, k)
        scores, places = torch.cat([found.scores, scores], 1), torch.cat([found.places, places + start], 1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        found = Found(scores[:, :k], places.gather(1, order)[:, :k])
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
