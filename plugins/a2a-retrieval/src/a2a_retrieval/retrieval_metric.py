"""What the metric `retrieval` keeps and computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2a_core.errors import A2AError
from a2a_core.report import Answer, Curve, Held, Note, Question, Ranking, Section
from a2a_retrieval.exact import Found, nearest
from a2a_retrieval.kept_vectors import KeptVectors, in_order
from a2a_retrieval.measures import Measure, padded, values
from a2a_retrieval.sides import SidesHead

QUERIES = 4096
"""How many are searched for at once."""
EXAMPLES, ANSWERS = 5, 5
"""Queries of the report, of the best and of the worst, and what is shown of each."""


class Searched(NamedTuple):
    """What one direction found, by the places of queries that are judged and of all documents."""

    queries: list[int]
    found: Found
    gains: Tensor
    """(Q, K) float64: the grades of what was found."""
    relevant: Tensor
    """(Q,): how many documents answer each."""
    values: dict[Measure, Tensor]
    missing: int
    """Judgements of documents that are not there."""


class Way(NamedTuple):
    """One direction: which side asks, which answers, and what is judged: query -> document -> grade, by their ids."""

    asks: str
    answers: str
    judged: Mapping[int, Mapping[int, float]]


class RetrievalMetric:
    """Queries, documents and judgements so far."""

    def __init__(self, head: SidesHead, measures: Sequence[Measure], dimensions: Sequence[int], both_ways: bool) -> None:
        self.head, self.measures, self.dimensions, self.both_ways = head, tuple(measures), tuple(dimensions), both_ways
        self.target = head.processor()
        self.kept = {"query": KeptVectors(), "positive": KeptVectors()}
        self.judged: dict[int, dict[int, float]] = {}
        self.late, self.device = False, torch.device("cpu")
        self.before: dict[tuple[str, int], Searched] = {}

    def update(self, outputs: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Take one batch."""
        self.before = {}
        self.late, self.device = outputs["query"].dim() == 3, outputs["query"].device
        for side, kept in self.kept.items():
            kept.add(targets[f"{side}_id"], targets[f"{side}_name"], outputs[side], outputs[f"{side}_mask"])
        rows = (targets[name].tolist() for name in ("query_id", "relevant", "relevance"))
        for query, ids, grades in zip(*rows, strict=True):
            if query in self.kept["query"].places:
                self.judge(query, {id_: grade for id_, grade in zip(ids, grades, strict=True) if id_})

    def judge(self, query: int, grades: Mapping[int, float]) -> None:
        """The highest grade of each document that several rows judge."""
        known = self.judged.setdefault(query, {})
        for id_, grade in grades.items():
            known[id_] = max(grade, known.get(id_, grade))

    def state(self) -> Any:
        """Everything."""
        return {
            "judged": {query: dict(grades) for query, grades in self.judged.items()},
            "late": self.late,
            **{side: kept.state() for side, kept in self.kept.items()},
        }

    def merge(self, state: Any) -> None:
        """Add what another rank saw."""
        self.before = {}
        self.late = self.late or state["late"]
        for side, kept in self.kept.items():
            kept.merge(state[side])
        for query, grades in state["judged"].items():
            self.judge(query, grades)

    def compute(self) -> dict[str, float]:
        """The metric's own value; then all measures by direction, and at its k by channels. NaN where no query is judged."""
        ways = ["", "reverse/"] if self.both_ways else [""]
        found = {
            f"{way}{f'dim{width}/' if width else ''}{measure}": float(value.mean())
            for way in ways
            for width in (0, *self.dimensions)
            for measure, value in self.searched(way, width).values.items()
            if not width or measure.k == self.measures[0].k
        }
        missing = self.searched("", 0).missing
        return {"own": next(iter(found.values()))} | found | ({"missing": missing} if missing else {})

    def way(self, name: str) -> Way:
        """`reverse/`: documents ask for the queries that they answer."""
        if not name:
            return Way("query", "positive", self.judged)
        turned: dict[int, dict[int, float]] = {}
        for query, grades in self.judged.items():
            for document, grade in grades.items():
                turned.setdefault(document, {})[query] = grade
        return Way("positive", "query", turned)

    def searched(self, name: str, width: int) -> Searched:
        """One direction, with vectors cut to `width` channels, 0: as they are."""
        if (name, width) not in self.before:
            self.before[name, width] = self.search(self.way(name), width)
        return self.before[name, width]

    def search(self, way: Way, width: int) -> Searched:
        """Search for all queries that are judged, among all documents."""
        asking, answering = self.kept[way.asks], self.kept[way.answers]
        queries = [place for id_, place in asking.places.items() if way.judged.get(id_)]
        ids = list(asking.places)
        judged = [way.judged[ids[place]] for place in queries]
        missing = self.missing(way, queries, judged)
        full = asking.rows.width
        if width > full and queries:
            raise A2AError(f"the metric `retrieval`: vectors of {full} channels cannot be cut to {width}")
        # equal scores are ordered as trec_eval does: the id that comes last in the alphabet first
        order = np.array(sorted(range(len(answering.names)), key=answering.names.__getitem__, reverse=True), dtype=np.int64)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        parts = [
            (found, *graded(found, judged[start : start + QUERIES], answering.places, rank))
            for start, found in self.blocks(asking, queries, answering, order, width or full)
        ]
        if not parts:
            nothing = torch.zeros(0, 0)
            return Searched([], Found(nothing, nothing), nothing, nothing, values(self.measures, nothing, nothing), missing)
        gains = torch.cat([gains for _, gains, _ in parts])
        by_block = [values(self.measures, gains, ideal) for _, gains, ideal in parts]
        measured = {measure: torch.cat([block[measure] for block in by_block]) for measure in self.measures}
        scores = torch.cat([found.scores for found, _, _ in parts])
        places = torch.from_numpy(order)[torch.cat([found.places for found, _, _ in parts])]
        relevant = torch.tensor([sum(grade > 0 for grade in grades.values()) for grades in judged])
        return Searched(queries, Found(scores, places), gains, relevant, measured, missing)

    def blocks(
        self, asking: KeptVectors, queries: list[int], answering: KeptVectors, order: NDArray[np.int64], width: int
    ) -> Iterator[tuple[int, Found]]:
        """So many queries at a time: the first one's number, and which documents they find, by their places in `order`."""
        unit = self.late or getattr(self.head, "normalise", True)
        documents, sizes = in_order(answering, order, width, unit)
        most = max(measure.k or len(order) for measure in self.measures)
        for start in range(0, len(queries), QUERIES):
            cut, lengths = in_order(asking, np.array(queries[start : start + QUERIES]), width, unit)
            late = (torch.from_numpy(lengths), sizes.tolist()) if self.late else (None, None)
            found = nearest(cut[:].to(self.device), late[0], documents, late[1], most)
            yield start, Found(found.scores.cpu(), found.places.cpu())

    def missing(self, way: Way, queries: list[int], judged: list[Mapping[int, float]]) -> int:
        """Judgements of documents that are not there; A2AError when none is."""
        there = self.kept[way.answers].places
        wanted = [
            (place, id_) for place, grades in zip(queries, judged, strict=True) for id_, grade in grades.items() if grade > 0
        ]
        missing = [place for place, id_ in wanted if id_ not in there]
        if missing and len(missing) == len(wanted):
            name = self.kept[way.asks].names[missing[0]].decode(errors="replace")
            raise A2AError(
                f"the metric `retrieval`: nothing that answers a query is a document of the split, of query `{name}` for one",
                hint=f"rows with `{self.head.positive}` are the documents; ids in `relevant` are those of `positive_id`",
            )
        return len(missing)

    def sections(self) -> list[Section]:
        """For the report: recall over k, and the best and the worst queries, in each direction."""
        made: list[Section] = []
        missing = self.searched("", 0).missing
        if missing:
            made.append(Note(f"{missing} documents that answer a query are in no row: they count as not found."))
        ways = {"": "queries", "reverse/": "documents"} if self.both_ways else {"": "queries"}
        lines = {f"{name}recall": recalls(self.searched(name, 0)) for name in ways}
        lines |= {f"dim{width}/recall": recalls(self.searched("", width)) for width in self.dimensions}
        made.append(Curve("Recall of the k best", "k", {name: line for name, line in lines.items() if line}))
        for name, plural in ways.items():
            made += self.rankings(name, plural)
        return made

    def rankings(self, name: str, plural: str) -> Iterator[Ranking]:
        """The best and the worst queries of a direction."""
        searched, own = self.searched(name, 0), self.measures[0]
        best_first = searched.values[own].argsort(descending=True, stable=True).tolist()
        half = min(EXAMPLES, (len(best_first) + 1) // 2)
        for title, chosen in (("best", best_first[:half]), ("worst", best_first[::-1][: min(half, len(best_first) // 2)])):
            if chosen:
                questions = [self.question(name, searched, number) for number in chosen]
                yield Ranking(f"The {title} {plural}", str(own), questions, self.held)

    def question(self, name: str, searched: Searched, number: int) -> Question:
        """One query, what it found, and what it should have."""
        way, place = self.way(name), searched.queries[number]
        asking, answering = self.kept[way.asks], self.kept[way.answers]
        side = self.head.sides()
        grades = way.judged[list(asking.places)[place]]
        answers = [
            Answer(Held(side[way.answers], answering.names[document].decode(errors="replace")), score, grade)
            for document, score, grade in zip(
                searched.found.places[number, :ANSWERS].tolist(),
                searched.found.scores[number, :ANSWERS].tolist(),
                searched.gains[number, :ANSWERS].tolist(),
                strict=True,
            )
        ]
        should = sorted(
            (-grade, answering.places[id_]) for id_, grade in grades.items() if grade > 0 and id_ in answering.places
        )
        wanted = [Held(side[way.answers], answering.names[place].decode(errors="replace")) for _, place in should[:ANSWERS]]
        query = Held(side[way.asks], asking.names[place].decode(errors="replace"))
        return Question(query, float(searched.values[self.measures[0]][number]), answers, wanted)

    def held(self, fields: Mapping[str, Any]) -> dict[str, str]:
        """Encoder -> the id of what a row holds for it."""
        return {self.head.sides()[side]: self.target.one(fields, side) for side in ("query", "positive")}


def graded(
    found: Found, judged: Sequence[Mapping[int, float]], places: Mapping[int, int], rank: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """The grades of what was found (Q, K), and all that were given (Q, R), the highest first."""
    gains = np.zeros(found.places.shape)
    if gains.size:
        flat = [
            (number * len(rank) + rank[places[id_]], grade)
            for number, grades in enumerate(judged)
            for id_, grade in grades.items()
            if id_ in places
        ]
        keys, given = (np.array(each) for each in zip(*sorted(flat), strict=True)) if flat else (np.array([-1]), np.zeros(1))
        asked = found.places.numpy() + np.arange(len(judged))[:, None] * len(rank)
        at = np.searchsorted(keys, asked).clip(max=len(keys) - 1)
        gains = np.where(keys[at] == asked, given[at], 0.0)
    return torch.from_numpy(gains), padded([sorted(grades.values(), reverse=True) for grades in judged])


def recalls(searched: Searched) -> list[tuple[float, float]]:
    """(k, recall of the k best) for every k up to what was searched for."""
    if not searched.gains.numel():
        return []
    means = ((searched.gains > 0).cumsum(1) / searched.relevant.clamp(min=1)[:, None]).mean(0)
    return [(float(k), value) for k, value in enumerate(means.tolist(), 1)]
