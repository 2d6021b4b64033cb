"""All documents of a step, those of every rank: N positives, then their S negatives each, M in all."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from a2a_core.gathering import all_rows
from a2a_retrieval import scoring
from a2a_retrieval.own_documents import Compare, held
from a2a_retrieval.scoring import wide


def to_documents(outputs: Mapping[str, Tensor], every: Compare = scoring.every) -> tuple[Tensor, Tensor]:
    """This rank's queries by all documents (B, M), and which of these there are (M,)."""
    vectors = wide(outputs["positive"]), wide(outputs["negative"])
    masks = outputs["positive_mask"], outputs["negative_mask"]
    here = held(outputs, "positive"), held(outputs, "negative")
    (positive, negative, positive_mask, negative_mask, positives, negatives), _ = all_rows(*vectors, *masks, *here)
    asked = wide(outputs["query"]), outputs["query_mask"]
    others = negative.flatten(0, 1), negative_mask.flatten(0, 1)
    scores = torch.cat([every(*asked, positive, positive_mask), every(*asked, *others)], 1)
    return scores, torch.cat([positives, negatives.flatten()])


def to_queries(outputs: Mapping[str, Tensor], every: Compare = scoring.every) -> tuple[Tensor, Tensor]:
    """This rank's positives by the queries of all rows (B, N), and which of these there are (N,)."""
    (query, mask, there), _ = all_rows(wide(outputs["query"]), outputs["query_mask"], held(outputs, "query"))
    return every(query, mask, wide(outputs["positive"]), outputs["positive_mask"]).T, there
