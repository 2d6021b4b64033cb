"""The documents among which negatives are found: different ones, their vectors, whatever rows call them, and the nearest."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from a2a_core.errors import A2AError
from a2a_retrieval import scoring
from a2a_retrieval.embedder import Embedded
from a2a_retrieval.exact import Found, nearest
from a2a_retrieval.pairs import content
from a2a_retrieval.side_reading import SideReading, row_id

AT_ONCE = 64
"""Queries whose candidates are scored again at once."""
SPARE = 16
"""Documents more than are wanted that faiss is asked for: it rounds otherwise, and of near-ties others come last."""


class Document(NamedTuple):
    """As it stands in its row, and what it is called there."""

    raw: Any
    root: Path | None
    """Where a file's name starts; None for what is no file."""
    id: str | None


class Documents:
    """Those that were added first are at the first places."""

    def __init__(self) -> None:
        self.every: list[Document] = []
        self.named: dict[str, set[int]] = {}
        """Places by id, and by what names a content that has no id."""
        self.places: dict[Hashable, int] = {}
        self.blocks: list[Tensor] = []
        self.sizes: list[int] = []

    def add(self, block: Embedded, reading: SideReading, corpus: bool) -> list[int]:
        """The place of each row's document; of a corpus a row's own id is its document's."""
        sizes = [1] * len(block.rows) if block.lengths is None else block.lengths.tolist()
        found = []
        for part, row in zip(block.vectors.split(sizes), block.rows, strict=True):
            known = reading.known(row)
            raw = reading.raw(known)
            place = self.places.setdefault(reading.same(known, raw) or (row.place, row.id), len(self.every))
            names = [row_id(known, "positive")] if corpus or known.fields.get("positive_id") is not None else []
            root = known.root if reading.medium.file and isinstance(raw, str) else None
            if place == len(self.every):
                self.every.append(Document(raw, root, names[0] if names else None))
                self.blocks.append(part)
                self.sizes.append(len(part))
            for name in [*names, content(reading.field, raw)] if isinstance(raw, (str, bytes)) else names:
                self.named.setdefault(name, set()).add(place)
            found.append(place)
        return found

    def vectors(self) -> Tensor:
        """All documents' vectors, one document's behind the other's."""
        self.blocks = [torch.cat(self.blocks)]
        return self.blocks[0]


def candidates(queries: Embedded, documents: Tensor, sizes: list[int], k: int, faiss: bool) -> Found:
    """The k nearest of the documents for each query, the best first, of equal ones the first."""
    if queries.lengths is not None:
        return nearest(queries.vectors, queries.lengths, documents, sizes, k)
    if not faiss:
        return rescored(queries.vectors, documents, nearest(queries.vectors, None, documents, None, k).places)
    import faiss as library

    index: Any = library.IndexFlatIP(documents.shape[1])
    index.add(documents.numpy())
    _, places = index.search(queries.vectors.numpy(), min(k + SPARE, len(documents)))
    found = rescored(queries.vectors, documents, torch.from_numpy(places))
    return Found(found.scores[:, :k], found.places[:, :k])


def use_faiss(engine: str, multi_vector: bool) -> bool:
    """Whether faiss searches; A2AError where it is asked for and cannot."""
    if engine == "faiss" and multi_vector:
        raise A2AError("faiss finds one vector a document, and the head gives one a token", hint="`--engine torch`")
    if engine == "faiss" and find_spec("faiss") is None:
        raise A2AError("faiss is not installed", hint="`pip install faiss-cpu`, or `--engine torch`, which finds the same")
    return engine != "torch" and not multi_vector and find_spec("faiss") is not None


def rescored(queries: Tensor, documents: Tensor, places: Tensor) -> Found:
    """Those documents in order, scored by the same sums whoever found them."""
    places = places.sort(dim=1).values
    parts = [
        (some[:, None] * documents[where]).sum(-1)  # unlike a product of matrices it adds up the same way whatever k is
        for some, where in zip(queries.split(AT_ONCE), places.split(AT_ONCE), strict=True)
    ]
    scores, order = torch.cat(parts).sort(dim=1, descending=True, stable=True)
    return Found(scores, places.gather(1, order))


def own_scores(queries: Embedded, positives: Iterator[Tensor]) -> list[float]:
    """Each query's score of its own positive's vectors."""
    parts = queries.vectors.split(1 if queries.lengths is None else queries.lengths.tolist())
    found = []
    for query, positive in zip(parts, positives, strict=True):
        if queries.lengths is None:
            found.append(float((query * positive).sum()))
        else:
            found.append(float(scoring.every(query[None], ones(query), positive[None], ones(positive))))
    return found


def ones(vectors: Tensor) -> Tensor:
    """All of them are real."""
    return torch.ones(1, len(vectors), dtype=torch.bool)
