"""Exact search: the k best documents of every query, in blocks, so that a corpus need not fit in memory.

Each block of documents is read once. Of its scores only groups of neighbours whose highest beats a query's k-th best so far
are looked at again, so that choosing costs little beside the product. Equal scores are ordered by place, the lowest first,
at the k-th place, too, whatever the blocks are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from a2a_core.errors import RunFailed

GROUP = 32
QUERIES, DOCUMENTS = 1024, 8192
"""How many are scored at once: 32 MB of scores. Of documents of many vectors each, the same counts of vectors."""


class Found(NamedTuple):
    """The best documents of each query, the best first."""

    scores: Tensor
    """(Q, min(k, documents)) float32."""
    places: Tensor
    """(Q, min(k, documents)) int64: which document."""

    def joined(self, other: Found, start: int, k: int) -> Found:
        """The k best of both, of equal scores those here first; the other's places begin at `start`."""
        scores, order = torch.cat([self.scores, other.scores], 1).sort(dim=1, descending=True, stable=True)
        places = torch.cat([self.places, other.places + start], 1).gather(1, order)
        return Found(scores[:, :k], places[:, :k])


class Leaders:
    """The k best of each query among the scores that were added."""

    def __init__(self, queries: int, k: int, device: torch.device | None = None) -> None:
        if k < 1:
            raise ValueError(f"the best {k} of a corpus are none: k is at least 1")
        self.k = k
        self.found = Found(torch.empty(queries, 0, device=device), torch.empty(queries, 0, dtype=torch.int64, device=device))

    def add(self, scores: Tensor, start: int) -> None:
        """(Q, M) scores of documents from place `start` on, all behind those that came before."""
        behind = self.found.scores[:, -1] if self.found.scores.shape[1] == self.k else None
        found = best(scores, self.k, behind)
        if found.scores.shape[1]:
            self.found = self.found.joined(found, start, self.k)


def nearest(queries: Tensor, query_lengths: Tensor | None, documents: Any, lengths: Sequence[int] | None, k: int) -> Found:
    """The k best documents of each query: of vectors (Q, D) and (N, D), or flat ones (…, D) with how many each row has."""
    if query_lengths is None or lengths is None:
        return top(queries, documents, k)
    parts = queries.split(query_lengths.tolist())
    nothing = queries.new_zeros(0, 0, queries.shape[1]), query_lengths.new_zeros(0, 0)
    return top_late(*(side_by_side(parts) if parts else nothing), documents, lengths, k)


def side_by_side(several: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Vectors of items (T, D) each as (N, T, D), zeros behind, and which are real (N, T)."""
    lengths = torch.tensor([len(each) for each in several])
    values = pad_sequence(list(several), batch_first=True)
    return values, (torch.arange(values.shape[1]) < lengths[:, None]).to(values.device)


def top(queries: Tensor, documents: Any, k: int) -> Found:
    """The k documents with the highest dot product of each query (Q, D), on the device of the queries.

    `documents` is a tensor, an array, a memory-mapped array or a slice of a safetensors file, (M, D), or an iterable of such
    blocks; numbers of any kind, made float32 block by block. ValueError where their dimensions differ from the queries',
    RunFailed where a score is no number.
    """
    queries = queries.float()
    parts = queries.split(QUERIES)
    leaders = [Leaders(len(part), k, queries.device) for part in parts]
    start = 0
    for block in blocks(documents, DOCUMENTS):
        if block.ndim != 2 or block.shape[1] != queries.shape[1]:
            raise ValueError(f"documents of shape {tuple(block.shape)} fit no queries of {queries.shape[1]} dimensions")
        columns = block.to(queries.device, torch.float32).T
        for part, leader in zip(parts, leaders, strict=True):
            leader.add(part @ columns, start)
        start += len(block)
    return together(leaders)


def top_late(queries: Tensor, mask: Tensor, vectors: Any, lengths: Sequence[int], k: int) -> Found:
    """The k documents with the highest MaxSim of each query: late interaction (arXiv 2004.12832).

    `queries` (Q, T, D) with `mask` (Q, T); `vectors` (N, D), as `documents` in `top`, are those of all documents one behind the
    other, and `lengths` says how many each has, at least one. A score is the sum over a query's vectors of the highest dot
    product with one of the document's.
    """
    queries = queries.float() * mask[..., None]
    _, width, dimensions = queries.shape
    parts = queries.split(max(1, QUERIES // max(1, width)))
    leaders = [Leaders(len(part), k, queries.device) for part in parts]
    ends = np.concatenate([[0], np.cumsum(np.asarray(lengths, dtype=np.int64))])
    if shape(vectors) != (int(ends[-1]), dimensions) or (len(lengths) and min(lengths) < 1):
        raise ValueError(
            f"vectors of shape {shape(vectors)} are not those of {len(lengths)} documents, one at least of each and {ends[-1]} "
            f"in all, for queries of {dimensions} dimensions"
        )
    first = 0
    while first < len(lengths):
        last = max(first + 1, int(np.searchsorted(ends, ends[first] + DOCUMENTS, side="right")) - 1)
        block = tensor(vectors[int(ends[first]) : int(ends[last])]).to(queries.device, torch.float32)
        sizes = [int(length) for length in lengths[first:last]]
        for part, leader in zip(parts, leaders, strict=True):
            pairs = block @ part.reshape(-1, dimensions).T
            nearest = torch.stack([own.amax(0) for own in pairs.split(sizes)])
            leader.add(nearest.view(len(sizes), len(part), width).sum(-1).T, first)
        first = last
    return together(leaders)


def together(leaders: Sequence[Leaders]) -> Found:
    """Of all queries."""
    found = Found(*(torch.cat(parts) for parts in zip(*(leader.found for leader in leaders), strict=True)))
    if found.scores.isnan().any():
        query, place = found.scores.isnan().nonzero()[0].tolist()
        raise RunFailed(f"the score of query {query} and document {int(found.places[query, place])} is not a number")
    return found


def best(values: Tensor, k: int, behind: Tensor | None = None) -> Found:
    """The k highest of each row (Q, N) and where they are; of equal ones the first.

    With `behind` (Q,) those alone count that are higher, and there may be fewer than k, or others that are not higher.
    """
    size = values.shape[1]
    if size < 4 * GROUP:
        return chosen(values, min(k, size))
    full = values if size % GROUP == 0 else F.pad(values, (0, -size % GROUP), value=-math.inf)
    grouped = full.unflatten(1, (-1, GROUP))
    peaks = grouped.amax(-1)
    wanted = min(k, peaks.shape[1])
    if behind is not None:
        wanted = min(wanted, int((~(peaks <= behind[:, None])).sum(1).max())) if len(peaks) else 0
    if wanted * 4 > peaks.shape[1]:
        return chosen(values, min(k, size))
    # a value of the k highest lies in one of the k groups with the highest peaks, of equal peaks in the first ones
    groups = best(peaks, wanted).places.sort(dim=1).values
    near = grouped.gather(1, groups[..., None].expand(-1, -1, GROUP)).flatten(1)
    scores, within = chosen(near, min(k, near.shape[1]))
    return Found(scores, groups.gather(1, within // GROUP) * GROUP + within % GROUP)


def chosen(values: Tensor, k: int) -> Found:
    """As `best`, of few values."""
    scores, places = values.topk(min(k + 1, values.shape[1]), dim=1)
    if scores.shape[1] > k > 0:
        tied = scores[:, k] == scores[:, k - 1]
        if tied.any():  # top-k takes any of equal values
            rows = tied.nonzero()[:, 0]
            places[rows, :k] = values[rows].sort(dim=1, descending=True, stable=True).indices[:, :k]
    places = places[:, :k].sort(dim=1).values
    scores, order = values.gather(1, places).sort(dim=1, descending=True, stable=True)
    return Found(scores, places.gather(1, order))


def blocks(documents: Any, size: int) -> Iterator[Tensor]:
    """At most so many rows at a time."""
    if hasattr(documents, "shape") or hasattr(documents, "get_shape"):
        for start in range(0, shape(documents)[0], size):
            yield tensor(documents[start : start + size])
    else:
        for block in documents:
            yield from blocks(block, size)


def shape(documents: Any) -> tuple[int, ...]:
    """Of an array, or of a slice of a safetensors file."""
    return tuple(documents.get_shape() if hasattr(documents, "get_shape") else documents.shape)


def tensor(block: Any) -> Tensor:
    """Without a copy where the memory may be written to."""
    if isinstance(block, Tensor):
        return block
    return torch.from_numpy(block if block.flags.writeable else np.array(block))
