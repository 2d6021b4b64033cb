"""The transformer block that the fusions share: pre-norm, rotary positions, masks, a gate on the attention's output."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2a_fusion.streams import Stream


class Shape(NamedTuple):
    """The sizes of a block."""

    width: int
    num_heads: int
    hidden: int
    dropout: float
    gate: Literal["head", "channel", "none"]

    @property
    def head_width(self) -> int:
        """Channels of one head."""
        return self.width // self.num_heads


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the channel pairs (i, i + D / 2) of x (B, H, T, D) by the angles of its tokens."""
    first, second = x.chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)


class Attention(nn.Module):
    """Multi-head attention with a sigmoid gate on each head's output, computed from the query's own input (arXiv 2505.06708).

    A query that wants nothing closes its gate instead of parking its attention on some token. The gate starts half open
    everywhere (its weights are zero). A sample without any key gets exactly zero, and passes no gradient on.
    Keys have no bias: without rotation softmax would not see it.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.num_heads, self.dropout = shape.num_heads, shape.dropout
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        for linear in (self.query, self.key_value, self.out):
            nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.out.bias)
        self.gate: nn.Linear | None = None
        if shape.gate != "none":
            self.gate = nn.Linear(width, shape.num_heads if shape.gate == "head" else width)
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, H * D) -> (B, H, T, D)."""
        return x.reshape(*x.shape[:2], self.num_heads, x.shape[-1] // self.num_heads).transpose(1, 2)

    def forward(self, queries: Stream, keys: Stream) -> Tensor:
        """What the queries gather, (B, T, C)."""
        query = rotate(self.heads(self.query(queries.values)), queries.cos, queries.sin)
        key, value = (self.heads(x) for x in self.key_value(keys.values).chunk(2, -1))
        some = keys.mask.any(1)[:, None, None]
        # a row of softmax without a key is NaN in some kernels: let it see all, then drop what it saw
        visible = keys.mask[:, None, None, :] | ~some[..., None]
        gathered = F.scaled_dot_product_attention(
            query,
            rotate(key, keys.cos, keys.sin),
            value,
            attn_mask=visible,
            dropout_p=self.dropout if self.training else 0.0,
        )
        if self.gate is not None:
            gathered = gathered * self.heads(self.gate(queries.values).sigmoid())
        out: Tensor = self.out(gathered.transpose(1, 2).flatten(2))
        return out.masked_fill(~some, 0)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). With `cross` the keys are another stream's, with a norm of their own."""

    def __init__(self, shape: Shape, cross: bool = False) -> None:
        super().__init__()
        width = shape.width
        self.norm = nn.LayerNorm(width)
        self.context_norm = nn.LayerNorm(width) if cross else nn.Identity()
        self.attention = Attention(shape)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = mlp(width, shape.hidden, width, shape.dropout)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Stream, context: Stream | None = None) -> Stream:
        """The stream with new values."""
        queries = x._replace(values=self.norm(x.values))
        keys = queries if context is None else context._replace(values=self.context_norm(context.values))
        values = x.values + self.dropout(self.attention(queries, keys))
        return x._replace(values=values + self.dropout(self.mlp(self.mlp_norm(values))))


def mlp(width: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    """Linear, GELU, dropout, linear; Xavier weights, zero biases."""
    first, last = nn.Linear(width, hidden), nn.Linear(hidden, out)
    for linear in (first, last):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
    return nn.Sequential(first, nn.GELU(), nn.Dropout(dropout), last)
