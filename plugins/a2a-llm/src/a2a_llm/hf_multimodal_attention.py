"""Attention within the pictures, frames and windows that lie one behind the other in a vision tower.

The towers of the Qwen family cut queries, keys and values by tensors of lengths, which on a GPU are waited for in each layer,
and attend to one piece after the other. An implementation that calls itself flash attention is handed all at once, and where
pieces end; lengths are known before the batch reaches the device, and pieces of one length are one call.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from transformers.modeling_utils import AttentionInterface

from a2a_llm.documents import HALVES, Documents, disable, stock

NAME: Final = "a2a-flash-pieces"


@disable
def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    cu_seq_lens_q: Documents | Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(1, H, T, D) each -> (1, T, H, D): each piece sees all of itself, and no other."""
    for name in ("cu_seq_lens_k", "max_length_q", "max_length_k"):
        options.pop(name, None)
    if cu_seq_lens_q is None:
        return stock(module, query, key, value, attention_mask, **options)
    pieces = cu_seq_lens_q if isinstance(cu_seq_lens_q, Documents) else Documents(cu_seq_lens_q.diff().tolist())
    if query.is_cuda and query.dtype in HALVES and not options.get("dropout"):
        return varlen(query, key, value, pieces, options.get("scaling")), None
    return by_length(module, query, key, value, pieces, options), None


def by_length(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, pieces: Documents, options: dict[str, Any]
) -> Tensor:
    """Pieces of one length as a batch."""
    cut = [states[0].split(pieces.lengths, 1) for states in (query, key, value)]
    found: list[Tensor] = [query] * len(pieces.lengths)
    for length in dict.fromkeys(pieces.lengths):
        places = [place for place, each in enumerate(pieces.lengths) if each == length]
        batch = [torch.stack([states[place] for place in places]) for states in cut]
        attended, _ = stock(module, batch[0], batch[1], batch[2], None, **options)
        for place, each in zip(places, attended, strict=True):
            found[place] = each
    return torch.cat(found)[None]


def varlen(query: Tensor, key: Tensor, value: Tensor, pieces: Documents, scaling: float | None) -> Tensor:
    """All pieces in one call of flash attention."""
    from torch.nn.attention.varlen import varlen_attn

    starts, longest = pieces.cumulated(query.device), max(pieces.lengths)
    query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
    found: Any = varlen_attn(query, key, value, starts, starts, longest, longest, scale=scaling)
    whole: Tensor = found[None]
    return whole


AttentionInterface.register(NAME, attend)
