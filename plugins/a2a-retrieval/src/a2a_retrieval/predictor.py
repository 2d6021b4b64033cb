"""A trained run in Python: vectors, search and similarity."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from a2a_core import runs
from a2a_core.errors import A2AError
from a2a_core.inference import Trained, open_run
from a2a_core.structures import Row
from a2a_retrieval import scoring
from a2a_retrieval.corpora import VectorCorpus
from a2a_retrieval.embedder import Embedded, Embedder
from a2a_retrieval.exact import Found, nearest, side_by_side
from a2a_retrieval.fingerprint import refuse_other
from a2a_retrieval.searching import whole
from a2a_retrieval.side_reading import SIDES
from a2a_retrieval.vectors import open_vectors

Vectors = Tensor | list[Tensor]
"""(N, D), or, where each item has a vector a token, N tensors (T, D). float32, on the CPU."""


class Hit(NamedTuple):
    """A document that was found."""

    place: int
    """Which of the corpus, from 0 on."""
    id: str
    score: float


class Predictor:
    """A run's model, opened once.

    >>> predictor = Predictor("runs/medquad")
    >>> queries = predictor.embed(["What causes rickets?"], side="query")
    >>> documents = predictor.embed(["A lack of vitamin D.", "A virus."], side="positive")
    >>> predictor.similarity(queries, documents).shape
    torch.Size([1, 2])
    >>> for hit in predictor.search(["What causes rickets?"], "corpus.safetensors", k=3)[0]:
    ...     print(hit.id, hit.score)  # doctest: +ELLIPSIS
    d...
    d...
    d...

    Items are what the encoder of their side reads: a text, a file's path, or what its modality calls raw; or rows, tables with
    the fields that training rows have. A2AError for an item that cannot be read, by its place.
    """

    def __init__(self, run: str | os.PathLike[str], head: str | None = None, device: str = "auto") -> None:
        self.run = runs.find(os.fspath(run), Path("runs"))
        self.trained: Trained = open_run(self.run, device=device)
        self.embedder = Embedder(self.trained, head)

    def embed(self, items: Iterable[Any], side: str = "query", dimension: int | None = None) -> Vectors:
        """Queries, or with `side` "positive" documents; `dimension`: only so many first numbers, of length 1 again."""
        found = self._embedded(items, side, self._cut(dimension))
        return found.vectors if found.lengths is None else list(found.vectors.split(found.lengths.tolist()))

    def similarity(self, queries: Vectors, documents: Vectors) -> Tensor:
        """Each query with each document (Q, N): dot products, MaxSim where there is a vector a token."""
        return scoring.every(*padded(queries), *padded(documents))

    def search(
        self, queries: Iterable[Any], corpus: str | os.PathLike[str] | Iterable[Any] | Tensor, k: int = 10
    ) -> list[list[Hit]]:
        """The k best of the corpus for each query, the best first; fewer where there are not so many.

        A corpus is a file of vectors (`a2a embed`; A2AError for those of another model), a list of documents, or what `embed`
        made of one.
        """
        if isinstance(corpus, (str, os.PathLike)):
            vectors = open_vectors(Path(corpus))
            refuse_other(vectors.origin, self.run, self.embedder.head, str(corpus))
            embedder = self._cut(vectors.origin.dimension)
            side = "positive" if vectors.origin.side == "query" else "query"
            found = VectorCorpus(vectors).nearest(self._embedded(queries, side, embedder), k)
            return hits(found, vectors.ids)
        held = corpus if isinstance(corpus, Tensor) else list(corpus)
        if isinstance(held, Tensor) or (self.embedder.late and any(isinstance(each, Tensor) for each in held)):
            documents, lengths = flat(held)
        else:
            embedded = self._embedded(held, "positive", self.embedder)
            documents, lengths = embedded.vectors, None if embedded.lengths is None else embedded.lengths.tolist()
        asked = self._embedded(queries, "query", self._cut(documents.shape[-1]))
        return hits(nearest(asked.vectors, asked.lengths, documents, lengths, k), None)

    def _cut(self, dimension: int | None) -> Embedder:
        """The embedder of vectors of so many numbers."""
        if dimension in (None, self.embedder.dimension):
            return self.embedder
        return Embedder(self.trained, self.embedder.head, dimension)

    def _embedded(self, items: Iterable[Any], side: str, embedder: Embedder) -> Embedded:
        """All of them; A2AError for one that cannot be read."""
        if side not in SIDES:
            raise A2AError(f"there is no side `{side}`", hint=f"there is {' and '.join(SIDES)}")
        if isinstance(items, (str, bytes, Mapping)):
            raise A2AError(f"a list of items is embedded, not one {type(items).__name__}", hint="put it into a list")
        reading = embedder.reading(side)
        blocks = list(embedder.embed(rows(items, reading.field), reading))
        for block in blocks:
            for number, bad in block.bad.items():
                raise A2AError(f"item {number} cannot be embedded: {bad.reason}")
        return whole(blocks) if blocks else embedder.nothing()


def rows(items: Iterable[Any], field: str) -> Iterator[Row]:
    """Items as rows, in which they stand in a side's field."""
    here = Path.cwd()
    for number, item in enumerate(items):
        fields = item if isinstance(item, Mapping) else {field: os.fspath(item) if isinstance(item, os.PathLike) else item}
        yield Row(fields, str(fields.get("id", number)), here, f"item {number}")


def flat(vectors: Vectors) -> tuple[Tensor, list[int] | None]:
    """One item's vectors behind the other's, and how many each has where that is not one."""
    return (vectors, None) if isinstance(vectors, Tensor) else (torch.cat(vectors), [len(each) for each in vectors])


def padded(vectors: Vectors) -> tuple[Tensor, Tensor]:
    """(N, D), or (N, T, D), and what is real of it."""
    if isinstance(vectors, Tensor):
        return vectors, torch.ones(len(vectors), dtype=torch.bool)
    return side_by_side(vectors)


def hits(found: Found, ids: Sequence[str] | None) -> list[list[Hit]]:
    """Each query's, by the corpus's ids; without any the place is the id."""
    pairs = zip(found.scores.tolist(), found.places.tolist(), strict=True)
    return [
        [Hit(place, str(place) if ids is None else ids[place], score) for score, place in zip(scores, places, strict=True)]
        for scores, places in pairs
    ]
