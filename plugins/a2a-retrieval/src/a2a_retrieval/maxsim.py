"""MaxSim: how well each token of a query is met by the best token of a document (ColBERT, arXiv 2004.12832, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

BLOCK = 1 << 24
"""Numbers that are held at once while queries are compared with a block of documents: 64 MB of float32."""


def every(query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor) -> Tensor:
    """Queries (Q, T, D) with masks (Q, T), documents (M, T', D) with masks (M, T') -> (Q, M): each query with each document.

    What is kept for the gradient is which token was the best, (Q, M, T). A document without tokens scores 0.
    """
    scores: Tensor = MaxSim.apply(query, query_mask, document, document_mask)  # type: ignore[no-untyped-call]
    return scores


def own(query: Tensor, query_mask: Tensor, documents: Tensor, mask: Tensor) -> Tensor:
    """Queries (B, T, D), each with documents of its own (B, K, T', D), masks (B, K, T') -> (B, K)."""
    similar = torch.einsum("btd,bksd->bkts", query, documents)
    best, _ = best_of(similar, mask[:, :, None])
    return (best * query_mask[:, None]).sum(-1)


def best_of(similar: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The most along the last dimension and its place, 0 where there is nothing."""
    if not similar.shape[-1]:
        nothing = similar.new_zeros(similar.shape[:-1])
        return nothing, nothing.long()
    best, place = similar.masked_fill(~mask, torch.finfo(similar.dtype).min).max(-1)
    return best.masked_fill(~mask.any(-1), 0), place


def blocks(length: int, each: int) -> Iterator[slice]:
    """Slices of so many documents, each of which takes so many numbers, that together they take at most BLOCK."""
    step = max(1, BLOCK // max(1, each))
    return (slice(start, start + step) for start in range(0, length, step))


class MaxSim(torch.autograd.Function):
    """Block by block of documents: all similarities of tokens (Q, M, T, T') never exist at once.

    The gradient of a maximum is that of the token that reached it: backward takes T' times fewer multiplications than forward.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, query_mask: Tensor, document: Tensor, document_mask: Tensor) -> Tensor:
        """(Q, M), and the best tokens (Q, M, T)."""
        (size, length, _), (documents, tokens, _) = query.shape, document.shape
        scores = query.new_zeros(size, documents)
        places = torch.zeros(size, documents, length, dtype=torch.int32, device=query.device)
        for block in blocks(documents, size * length * tokens):
            best, place = best_of(torch.einsum("qtd,msd->qmts", query, document[block]), document_mask[block, None])
            scores[:, block], places[:, block] = (best * query_mask[:, None]).sum(-1), place
        ctx.save_for_backward(query, query_mask, document, document_mask, places)
        return scores

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, None]:
        """To each token that was met, and to each that met it best."""
        query, query_mask, document, document_mask, places = ctx.saved_tensors
        to_query, to_document = torch.zeros_like(query), torch.zeros_like(document)
        (size, length, width), (documents, tokens, _) = query.shape, document.shape
        weights = gradient * document_mask.any(-1)
        query = query * query_mask[..., None]
        for block in blocks(documents if tokens else 0, size * length * width):
            some, weight = document[block].flatten(0, 1), weights[:, block, None, None]
            flat = places[:, block] + torch.arange(0, len(some), tokens, device=some.device)[:, None]
            to_query += (some[flat] * weight).sum(1)
            owed = (query[:, None] * weight).flatten(0, 2)
            to_document[block] = torch.zeros_like(some).index_add_(0, flat.flatten(), owed).unflatten(0, (-1, tokens))
        return to_query * query_mask[..., None], None, to_document, None
