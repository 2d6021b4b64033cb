"""Which documents are known to answer which queries, by ids: they are no negatives, whoever's row they came with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from a2a_core.gathering import all_rows, padded


class Ids(NamedTuple):
    """Ids of N rows: queries, their positives, S negatives each, and what the rows say answers their queries; 0: none."""

    query: Tensor
    """(N,)"""
    positive: Tensor
    """(N,)"""
    negative: Tensor
    """(N, S)"""
    answers: Tensor
    """(N, A)"""

    @property
    def document(self) -> Tensor:
        """(M,) in the order of `step_documents.to_documents`."""
        return torch.cat([self.positive, self.negative.flatten()])


def ids(targets: Mapping[str, Tensor], slots: int) -> Ids:
    """Of a rank's rows, whose outputs have so many negatives: targets may know fewer, as they see no padding."""
    negative = targets["negative_id"]
    negative = padded(negative, [len(negative), max(slots, negative.shape[1])])[:, :slots]
    relevant = targets["relevant"].masked_fill(targets["relevance"] <= 0, 0)
    answers = torch.cat([targets["positive_id"][:, None], relevant], 1)
    return Ids(targets["query_id"], targets["positive_id"], negative, answers)


def everywhere(mine: Ids) -> tuple[Ids, int]:
    """Of all ranks' rows, and where this rank's begin."""
    found, start = all_rows(*mine)
    return Ids(*found), start


def known(query: Tensor, document: Tensor, asked: Tensor, answers: Tensor) -> Tensor:
    """Whether some row says of a document that it answers the query (Q, M): rows have `asked` (N,) and `answers` (N, A).

    Shapes depend on no value. An id of 0 is nobody's.
    """
    table = torch.zeros(len(query) + 1, len(document) + 1, dtype=torch.bool, device=query.device)
    table[first(asked, query)[:, None], first(answers, document)] = True
    table[-1], table[:, -1] = False, False
    return table[first(query, query)][:, first(document, document)]


def first(wanted: Tensor, among: Tensor) -> Tensor:
    """The first place of each id in `among` (L,), L where it is not."""
    values, order = among.sort(stable=True)
    place = torch.searchsorted(values, wanted).clamp(max=len(among) - 1)
    return order[place].masked_fill((values[place] != wanted) | (wanted == 0), len(among))
