"""Attention within documents that lie one behind the other: no padding, no T x T mask, and none sees another.

One causal call of scaled_dot_product_attention for each document (for all of them where they are equally long), or on a GPU
in half precision torch's variable-length flash attention for all at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

NAME: Final = "a2a-documents"
disable: Any = torch.compiler.disable
"""What depends on each document's length is run as it is: compiled, there would be code for each batch."""
HALVES: Final = (torch.bfloat16, torch.float16)


class Documents:
    """The documents' lengths; `seen` counts the layers that asked for them.

    No list: a compiler would make other code for each, and look at none of what is not its to see.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths, self.seen = list(lengths), 0
        self.starts: Tensor | None = None

    def cumulated(self, device: torch.device) -> Tensor:
        """Where each begins, and the end (N + 1,), int32; copied to the device once a forward pass."""
        if self.starts is None:
            ends = torch.tensor([0, *self.lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
            self.starts = ends.to(device, non_blocking=True)
        return self.starts


@disable
def documents_of(text: Mapping[str, Any]) -> Documents:
    """Those of a batch's text."""
    return Documents(text["lengths"])


@disable
def last(hidden: Tensor, documents: Documents) -> Tensor:
    """The state (B, C) at each document's last token, of all states (T, C)."""
    ends = torch.tensor(documents.lengths).cumsum(0) - 1
    return hidden.index_select(0, ends.to(hidden.device, non_blocking=True))


@disable
def side_by_side(embedded: Tensor, documents: Documents) -> tuple[Tensor, Tensor]:
    """Documents (T, C) padded on the right (B, longest, C), and which positions are real, as numbers."""
    padded = pad_sequence(list(embedded.split(documents.lengths)), batch_first=True)
    mask = torch.arange(padded.shape[1]) < torch.tensor(documents.lengths)[:, None]
    return padded, mask.long().to(padded.device, non_blocking=True)


@disable
def behind(padded: Tensor, documents: Documents) -> Tensor:
    """The real positions of (B, longest, C), one document behind the other (T, C)."""
    return torch.cat([row[:length] for row, length in zip(padded, documents.lengths, strict=True)])


@disable
def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    documents: Documents | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """(1, H, T, D) each -> (1, T, H, D); without `documents` what transformers' "sdpa" does."""
    if documents is None:
        return stock(module, query, key, value, attention_mask, **options)
    documents.seen += 1
    window = options.get("sliding_window")
    device = query.device.type
    if not query.is_meta and torch.is_autocast_enabled(device):  # rotary embeddings leave queries and keys in float32
        kind = torch.get_autocast_dtype(device)
        query, key, value = query.to(kind), key.to(kind), value.to(kind)
    if query.is_cuda and query.dtype in HALVES and not options.get("dropout"):
        return varlen(query, key, value, documents, options.get("scaling"), window), None
    alike = len(set(documents.lengths)) == 1
    return (together if alike else one_by_one)(module, query, key, value, documents, window, options), None


def stock(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> tuple[Tensor, None]:
    """transformers' own."""
    sdpa: Any = sdpa_attention_forward
    found: tuple[Tensor, None] = sdpa(module, query, key, value, mask, **options)
    return found


def together(
    module: Any, query: Tensor, key: Tensor, value: Tensor, documents: Documents, window: int | None, options: dict[str, Any]
) -> Tensor:
    """Documents of one length, as a batch."""
    count, length = len(documents.lengths), documents.lengths[0]

    def batch(states: Tensor) -> Tensor:
        heads: Tensor = states[0]
        return heads.reshape(heads.shape[0], count, length, heads.shape[2]).transpose(0, 1)

    mask = windowed(length, window, query.device)
    found, _ = stock(module, batch(query), batch(key), batch(value), mask, **options)
    return found.flatten(0, 1)[None]


def one_by_one(
    module: Any, query: Tensor, key: Tensor, value: Tensor, documents: Documents, window: int | None, options: dict[str, Any]
) -> Tensor:
    """Each document alone."""
    found, lengths = [], documents.lengths
    for each in zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True):
        mask = windowed(each[0].shape[2], window, query.device)
        found.append(stock(module, *each, mask, **options)[0])
    return torch.cat(found, dim=1)


def windowed(length: int, window: int | None, device: torch.device) -> Tensor | None:
    """The mask (1, 1, T, T) of a sliding window, itself included, where a document is longer; None is plainly causal."""
    if window is None or length <= window:
        return None
    places = torch.arange(length, device=device)
    apart = places[:, None] - places
    return ((apart >= 0) & (apart < window))[None, None]


def varlen(
    query: Tensor, key: Tensor, value: Tensor, documents: Documents, scaling: float | None, window: int | None
) -> Tensor:
    """All documents in one call of flash attention."""
    from torch.nn.attention.varlen import varlen_attn

    starts, longest = documents.cumulated(query.device), max(documents.lengths)
    found: Any = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        starts,
        starts,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    whole: Tensor = found[None]
    return whole


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
