"""A row's own documents, its positive and its negatives side by side (B, 1 + S): which there are, and how they score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_retrieval import scoring
from a2a_retrieval.scoring import wide

SIDES = "query", "positive", "negative"
Compare = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""As scoring.own, or scoring.every."""


def offered(inputs: Mapping[str, Any], sides: Mapping[str, str]) -> Tensor:
    """Which of them a batch has, of rows with a query (B, 1 + S); needs no forward pass."""
    size = inputs["size"]
    query, positive = (slots(inputs[sides[side]], size)[:, :1] for side in ("query", "positive"))
    negatives = [slots(inputs[sides["negative"]], size)] if sides.get("negative") else []
    return torch.cat([positive, *negatives], 1) & query


def slots(media: Mapping[str, Any], size: int) -> Tensor:
    """Which of a sample's items of an encoder there are (B, slots)."""
    here: Tensor = media["row"].new_zeros(size, media["slots"], dtype=torch.bool)
    return here.index_put((media["row"], media["slot"]), here.new_ones(()))


def held(outputs: Mapping[str, Tensor], side: str) -> Tensor:
    """Which items there are of a side, (B,) or (B, S), of vectors or of tokens."""
    mask = outputs[f"{side}_mask"]
    return mask.any(-1) if outputs["query"].dim() > 2 else mask


def paired(outputs: Mapping[str, Tensor]) -> Tensor:
    """Rows with a query and a positive (B,)."""
    return held(outputs, "query") & held(outputs, "positive")


def similarity(outputs: Mapping[str, Tensor]) -> Tensor:
    """The cosine of each row's query and positive (B,); of a vector a token MaxSim."""
    query, positive = wide(outputs["query"]), wide(outputs["positive"])
    if query.dim() == 2:
        return F.cosine_similarity(query, positive, dim=-1)
    return scoring.own(query, outputs["query_mask"], positive[:, None], outputs["positive_mask"][:, None])[:, 0]


def judged(outputs: Mapping[str, Tensor], own: Compare = scoring.own) -> tuple[Tensor, Tensor]:
    """The query's scores of them (B, 1 + S), and which there are, of rows with a query."""
    query, mask = wide(outputs["query"]), outputs["query_mask"]
    positive, negative = (
        own(query, mask, wide(vectors), here)
        for vectors, here in (
            (outputs["positive"][:, None], outputs["positive_mask"][:, None]),
            (outputs["negative"], outputs["negative_mask"]),
        )
    )
    there = torch.cat([held(outputs, "positive")[:, None], held(outputs, "negative")], 1)
    return torch.cat([positive, negative], 1), there & held(outputs, "query")[:, None]


def rated(teacher: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
    """A teacher's scores of such documents (B, 1 + S), 0 where unknown, and which are known, beside that of the positive.

    `teacher` may be narrower or wider: a batch's targets know nothing of the places that its negatives were padded to.
    """
    teacher = F.pad(teacher, (0, documents.shape[1] - teacher.shape[1]), value=torch.nan)  # a negative number of them cuts
    known = teacher.isfinite() & documents
    return teacher.masked_fill(~known, 0), known & known[:, :1]
