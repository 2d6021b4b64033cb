"""Hidden states by chunks, so small that the logits of one are small beside those of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn

LOGITS: Final = 1 << 25
"""Logits that exist at a time: 128 MiB in float32."""
FEWEST, MOST = 128, 4096
"""Rows of a chunk: fewer would leave a GPU idle, more bring nothing."""


def linear(unembed: Any) -> nn.Linear | None:
    """The one layer without bias that it is, if it is (see Unembedding.linear)."""
    layer = unembed if type(unembed) is nn.Linear else getattr(unembed, "linear", None)
    return layer if layer is not None and layer.bias is None else None


@torch.no_grad()
def vocabulary(unembed: Any, hidden: Tensor) -> int:
    """Logits a place."""
    layer = linear(unembed)
    return layer.out_features if layer is not None else int(unembed(hidden[:1].detach()).shape[-1])


def chunks(unembed: Any, hidden: Tensor) -> Iterator[slice]:
    """The rows of hidden states (S, C), some at a time."""
    if not hidden.shape[0]:
        return
    rows = max(FEWEST, min(MOST, LOGITS // vocabulary(unembed, hidden)))
    for start in range(0, hidden.shape[0], rows):
        yield slice(start, start + rows)
