"""The module of the projector `attention`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from a2a_core.structures import Tokens


class Layer(nn.Module):
    """Queries gather from the medium and from one another, then think."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_norm, self.medium_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def heads(self, x: Tensor) -> Tensor:
        """(N, T, H * D) -> (N, H, T, D)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, queries: Tensor, medium: Tensor, visible: Tensor) -> Tensor:
        """Queries (N, Q, C) over a medium (N, T, C); `visible` (N, 1, 1, T + Q)."""
        asked = self.query_norm(queries)
        key, value = self.key_value(torch.cat([self.medium_norm(medium), asked], 1)).chunk(2, -1)
        gathered = F.scaled_dot_product_attention(
            self.heads(self.query(asked)), self.heads(key), self.heads(value), attn_mask=visible
        )
        queries = queries + self.out(gathered.transpose(1, 2).flatten(2))
        return queries + self.mlp(self.mlp_norm(queries))


class Resampler(nn.Module):
    """Learned queries, layers, and the way out."""

    def __init__(self, width: int, inside: int, out: int, num_queries: int, layers: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(num_queries, inside))
        nn.init.normal_(self.queries, std=0.02)
        self.enter = nn.Linear(width, inside) if width != inside else nn.Identity()
        self.layers = nn.ModuleList(Layer(inside, num_heads, hidden) for _ in range(layers))
        self.norm = nn.LayerNorm(inside)
        self.leave = nn.Linear(inside, out)

    def forward(self, tokens: Tokens) -> Tokens:
        """(N, T, width) -> (N, Q, out); padding is hidden from the queries."""
        size, count = tokens.values.shape[0], self.queries.shape[0]
        hidden = ~tokens.mask
        medium = self.enter(tokens.values.masked_fill(hidden[..., None], 0))
        visible = F.pad(tokens.mask, (0, count), value=True)[:, None, None]
        queries = self.queries.to(medium.dtype).expand(size, -1, -1)
        for layer in self.layers:
            queries = layer(queries, medium, visible)
        mask = torch.ones(size, count, dtype=torch.bool, device=medium.device)
        return tokens._replace(values=self.leave(self.norm(queries)), mask=mask)
