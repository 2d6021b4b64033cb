"""Measures of rankings, as trec_eval and `ir_measures` define them.

`ndcg` (linear gains, discounted by log2 of the rank + 1), `recall`, `precision`, `mrr` (1 / rank of the first that answers),
`map` (mean of the precisions at what answers, over all that would) and `hit_rate` (whether anything answers), each of the k
best: `ndcg@10`. A document answers a query if its grade is above 0. Means are over the queries that are judged at all: one
whose judgements all are 0 counts, with 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_core.errors import A2AError

Judged = Mapping[str, Mapping[str, float]]
"""Query -> document -> grade, or score."""
MEASURES = ("ndcg", "recall", "precision", "mrr", "map", "hit_rate")


class Measure(NamedTuple):
    """`ndcg@10`; without a k, of the whole ranking."""

    name: str
    k: int | None = None

    def __str__(self) -> str:
        return self.name if self.k is None else f"{self.name}@{self.k}"


def named(text: str) -> Measure:
    """A measure by its name; A2AError for any other."""
    found = re.fullmatch(r"(\w+?)(?:@([1-9]\d*))?", text)
    if not found or found[1] not in MEASURES:
        raise A2AError(
            f"there is no measure `{text}`", hint="`ndcg@10`: any k of " + ", ".join(f"`{each}`" for each in MEASURES)
        )
    return Measure(found[1], None if found[2] is None else int(found[2]))


def measured(qrels: Judged, run: Judged, names: Iterable[str] = ("ndcg@10",)) -> dict[str, float]:
    """Means over the queries of `qrels`; a query that `run` has not counts with 0.

    Documents are ranked by score, the highest first; of equal ones (as float32, which trec_eval holds them in) the id that
    comes last in the alphabet. `ir_measures` has its `RR@k` from a script that orders these the other way round, so that
    `mrr@k` agrees with it where there are none; everything else always does.
    """
    by_query = measured_by_query(qrels, run, names)
    return {name: sum(values.values()) / len(values) if values else float("nan") for name, values in by_query.items()}


def measured_by_query(qrels: Judged, run: Judged, names: Iterable[str] = ("ndcg@10",)) -> dict[str, dict[str, float]]:
    """Name -> query -> value."""
    measures = {name: named(name) for name in names}
    queries = [query for query, grades in qrels.items() if grades]
    gains = [[float(qrels[query].get(name, 0)) for name in ranked(run.get(query, {}))] for query in queries]
    found = values(measures.values(), padded(gains), padded([sorted(qrels[query].values(), reverse=True) for query in queries]))
    return {name: dict(zip(queries, found[measure].tolist(), strict=True)) for name, measure in measures.items()}


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Documents, the best first."""
    return sorted(scores, key=lambda name: (np.float32(scores[name]), name.encode()), reverse=True)


def padded(rows: Sequence[Sequence[float]]) -> Tensor:
    """(Q, the longest) float64, zeros behind."""
    most = max(map(len, rows), default=0)
    return torch.tensor([[*row, *[0.0] * (most - len(row))] for row in rows], dtype=torch.float64).view(len(rows), most)


def values(measures: Iterable[Measure], gains: Tensor, ideal: Tensor) -> dict[Measure, Tensor]:
    """Each measure of each query (Q,) in float64.

    `gains` (Q, K): the grades of what was found, the best first, 0 for what was not judged; `ideal` (Q, R): the grades of
    all that was judged, the highest first. What is missing behind is 0.
    """
    gains, ideal = (grades.clamp(min=0).double() for grades in (gains, ideal))
    relevant = (ideal > 0).sum(1)
    return {measure: value(measure, gains, ideal, relevant) for measure in measures}


def value(measure: Measure, gains: Tensor, ideal: Tensor, relevant: Tensor) -> Tensor:
    """Of one measure (Q,)."""
    name, k = measure
    best, most = gains[:, :k], relevant.clamp(min=1)
    hits = best > 0
    ranks = torch.arange(1, best.shape[1] + 1, device=gains.device, dtype=torch.float64)
    if name == "ndcg":
        return discounted(best) / discounted(ideal[:, :k]).where(relevant > 0, torch.ones_like(most, dtype=torch.float64))
    if name == "recall":
        return hits.sum(1).double() / most
    if name == "precision":
        return hits.sum(1).double() / max(1, gains.shape[1] if k is None else k)
    if name == "hit_rate":
        return hits.any(1).double()
    if name == "mrr":
        return F.pad(hits / ranks, (0, 1)).amax(1)
    return (hits * hits.cumsum(1) / ranks).sum(1) / most


def discounted(gains: Tensor) -> Tensor:
    """Cumulated gains (Q,) of rankings (Q, K)."""
    return (gains / torch.arange(2, gains.shape[1] + 2, device=gains.device, dtype=torch.float64).log2()).sum(1)
