"""Negatives that are hard: for each query the documents that the model takes for its answer, and that are not."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from a2a_core.errors import A2AError
from a2a_core.structures import Row
from a2a_retrieval.embedder import Embedded, Embedder, unheard
from a2a_retrieval.mining_documents import Document, Documents, candidates, own_scores
from a2a_retrieval.searching import whole


class Rules(NamedTuple):
    """Which of the documents that do not answer a query become its negatives, and how many."""

    negatives: int = 5
    start: int = 0
    stop: int = 100
    """Ranks, among these documents, from `start` up to `stop`, which is not included."""
    margin: float | None = None
    """A negative scores at least so much less than the positive."""
    relative_margin: float | None = None
    """A negative scores at most this share of the positive (TopK-PercPos of NV-Retriever, arXiv 2407.15831)."""
    sample: Literal["top", "random"] = "top"
    seed: int = 0

    def bound(self, positive: float) -> float:
        """The most that a negative may score."""
        absolute = math.inf if self.margin is None else positive - self.margin
        relative = math.inf if self.relative_margin is None else positive - (1 - self.relative_margin) * abs(positive)
        return min(absolute, relative)

    def choose(self, scores: Sequence[float], positive: float, number: int) -> list[int]:
        """Which of the candidates with these scores, the best first; chance is each row's own, by its number."""
        bound = self.bound(positive)
        found = [rank for rank in range(self.start, min(self.stop, len(scores))) if scores[rank] <= bound]
        if self.sample == "random" and len(found) > self.negatives:
            return sorted(random.Random(f"{self.seed}/{number}").sample(found, self.negatives))
        return found[: self.negatives]


class Mined(NamedTuple):
    """What a row gets: documents as they stand in their rows, their ids where each has one, and the scores."""

    negatives: list[Any]
    ids: list[str] | None
    positive: float
    scores: list[float]


def mine(
    embedder: Embedder,
    rows: Callable[[], Iterable[Row]],
    corpus: Callable[[], Iterable[Row]] | None,
    rules: Rules,
    faiss: bool,
    told: Callable[[int], None] = unheard,
) -> Iterator[tuple[Row, Mined | str]]:
    """Each row with its negatives, or with why it gets none; in order. `corpus` None: the positives of all rows.

    What any row says answers a query, by id or by content, is no negative of it, whichever row it came with.
    """
    reading, documents = embedder.reading("positive"), Documents()
    for block in embedder.embed(corpus(), reading, told) if corpus is not None else ():
        for bad in block.bad.values():
            raise A2AError(f"{bad.row.place}, a document of the corpus, cannot be read: {bad.reason}")
        documents.add(block, reading, corpus=True)
    count = len(documents.every)
    places, reasons = dict[int, int](), dict[int, str]()
    for block in embedder.embed(rows(), reading, told):
        places |= zip(block.numbers, documents.add(block, reading, corpus=False), strict=True)
        reasons |= {number: bad.reason for number, bad in block.bad.items()}
    count = len(documents.every) if corpus is None else count
    if not places:
        raise A2AError(f"no row has a positive: {next(iter(reasons.values()), 'there are no rows')}")
    queries = whole(
        embedder.embed((row for number, row in enumerate(rows()) if number in places), embedder.reading("query"), told)
    )
    asked = numbered(queries, list(places), reasons)
    if not asked:
        raise A2AError(f"no row has a query and a positive: {next(iter(reasons.values()), 'there are no rows')}")
    if not count:
        raise A2AError("the corpus has no documents")
    names, answers = answered(embedder, rows(), places, asked, documents, reasons)
    wrong = {name: {place for place in found if place < count} for name, found in answers.items()}
    vectors = documents.vectors()
    ends = vectors.split(documents.sizes)
    k = min(count, rules.stop + max(map(len, wrong.values()), default=0))
    found = candidates(queries, vectors[: sum(documents.sizes[:count])], documents.sizes[:count], k, faiss)
    positives = own_scores(queries, (ends[places[number]] for number in asked))
    for number, row in enumerate(rows()):
        if number not in names:
            yield row, reasons.get(number, "it cannot be read")
            continue
        at = asked[number]
        every = zip(found.scores[at].tolist(), found.places[at].tolist(), strict=True)
        left = [(score, place) for score, place in every if place not in wrong[names[number]]]
        chosen = [left[rank] for rank in rules.choose([score for score, _ in left], positives[at], number)]
        yield row, mined([documents.every[place] for _, place in chosen], [score for score, _ in chosen], positives[at], row)


def numbered(queries: Embedded, given: Sequence[int], reasons: dict[int, str]) -> dict[int, int]:
    """Each row's query among those that were embedded; `given` are the rows that were to be."""
    reasons.update({given[number]: bad.reason for number, bad in queries.bad.items()})
    return {given[number]: place for place, number in enumerate(queries.numbers)}


def answered(
    embedder: Embedder,
    rows: Iterable[Row],
    places: dict[int, int],
    asked: dict[int, int],
    documents: Documents,
    reasons: dict[int, str],
) -> tuple[dict[int, str], dict[str, set[int]]]:
    """What names each row's query, and the documents that answer the queries of these names."""
    target, reading = embedder.config.processor(), embedder.reading("query")
    names, answers = dict[int, str](), dict[str, set[int]]()
    for number, row in enumerate(rows):
        if number not in asked:
            continue
        try:
            pair = target(reading.known(row).fields)
        except ValueError as error:
            reasons[number] = str(error)
            continue
        assert pair is not None, "it has a query"
        names[number] = pair.query
        known = answers.setdefault(pair.query, set())
        known.add(places[number])
        for name in (pair.positive, *(name for name, grade in pair.relevant.items() if grade > 0)):
            known |= documents.named.get(name, set())
    return names, answers


def mined(documents: Sequence[Document], scores: list[float], positive: float, row: Row) -> Mined:
    """Files are named from the folder of the row that gets them."""
    raws = [
        each.raw if each.root in (None, row.root) else os.path.relpath(each.root / each.raw, row.root) for each in documents
    ]
    ids = [each.id for each in documents if each.id is not None]
    return Mined(raws, ids if len(ids) == len(raws) and ids else None, positive, scores)
