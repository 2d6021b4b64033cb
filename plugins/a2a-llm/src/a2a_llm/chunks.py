"""Hidden states by chunks, so small that the logits of one are small beside those of all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

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
    """The rows of hidden states (S, C), some at a time; of stand-ins without values the first alone (see `reckon`)."""
    rows = rows_of(unembed, hidden) if hidden.shape[0] else 1
    last = min(rows, hidden.shape[0]) if unreal(hidden) else hidden.shape[0]
    for start in range(0, last, rows):
        yield slice(start, start + rows)


def rows_of(unembed: Any, hidden: Tensor) -> int:
    """Rows of a chunk."""
    return max(FEWEST, min(MOST, LOGITS // vocabulary(unembed, hidden)))


def unreal(hidden: Tensor) -> bool:
    """It has no values: on the meta device, or a stand-in that a deep check traces."""
    return hidden.is_meta or isinstance(hidden, FakeTensor)


def reckon(unembed: Any, hidden: Tensor, passes: int) -> None:
    """Of stand-ins, the arithmetic of all chunks but the first: as many products as `passes`, of nothing that takes memory.

    Each chunk does the same and lets go of it. To trace thousands of them would take minutes, and show no more.
    """
    rest = hidden.shape[0] - rows_of(unembed, hidden) if unreal(hidden) and hidden.shape[0] else 0
    if rest > 0:
        one, inner = hidden.new_empty(1, 1), rest * hidden.shape[1]
        with torch.autocast(hidden.device.type, enabled=False):  # which would copy what has no memory
            for _ in range(passes):
                torch.mm(one.expand(1, inner), one.expand(inner, vocabulary(unembed, hidden)))
