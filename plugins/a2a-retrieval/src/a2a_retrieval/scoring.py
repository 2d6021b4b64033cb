"""Scores of queries and documents: dot products of vectors (.., D), MaxSim where there is a vector a token (.., T, D).

Q queries, M documents, D channels, T vectors a query and S a document. Scores have the vectors' own precision: losses compute
them of `wide` vectors in `full_precision`. Where a side is missing a score means nothing: the masks of outputs tell.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_retrieval import maxsim


def every(query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor) -> Tensor:
    """Each query with each document (Q, M): of (Q, D) and (M, D), or (Q, T, D), (Q, T) and (M, S, D), (M, S)."""
    if query.dim() == 2:
        return query @ document.T
    return maxsim.every(query, query_mask, document, document_mask)


def own(query: Tensor, query_mask: Tensor, documents: Tensor, mask: Tensor) -> Tensor:
    """Each query with its own K documents (Q, K): of (Q, D) and (Q, K, D), or (Q, T, D), (Q, T), (Q, K, S, D), (Q, K, S)."""
    if query.dim() == 2:
        return torch.einsum("qd,qkd->qk", query, documents)
    return maxsim.own(query, query_mask, documents, mask)


def full_precision(tensor: Tensor) -> AbstractContextManager[None]:
    """No autocast on the tensor's device."""
    kind = tensor.device.type
    return torch.autocast(kind if torch.amp.is_autocast_available(kind) else "cpu", enabled=False)


def wide(tensor: Tensor) -> Tensor:
    """In float32, or float64 if it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def unit(vectors: Tensor) -> Tensor:
    """Of length 1; what is 0 stays so."""
    return F.normalize(vectors, dim=-1, eps=1e-6)
