"""The module of fusion `concat`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from a2a_core.structures import Fused, Tokens
from a2a_fusion.attention import mlp
from a2a_fusion.streams import gather, masked_max, masked_mean, masked_softmax


class ConcatModel(nn.Module):
    """Concatenate, pool, MLP."""

    def __init__(
        self, names: Iterable[str], width: int, pool: Literal["mean", "max", "attention"], hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.input_width = self.width = width
        self.names, self.pool = sorted(names), pool
        self.norm = nn.LayerNorm(width)
        self.mlp = mlp(width, hidden, width, dropout)
        self.score: nn.Linear | None = None
        if pool == "attention":
            self.score = nn.Linear(width, 1, bias=False)
            nn.init.zeros_(self.score.weight)  # starts as the mean

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """Encoded items to one sequence and one vector a sample."""
        size = inputs["size"]
        parts = gather(encoded, self.names, size, self.norm.weight.dtype)
        values = torch.cat([part.values for part in parts.values()], 1)
        mask = torch.cat([part.mask for part in parts.values()], 1)
        pooled = self.mlp(self.norm(self.pooled(values, mask)))
        return Fused(size, Tokens(values, mask), pooled, parts)

    def pooled(self, values: Tensor, mask: Tensor) -> Tensor:
        """One vector a sample, (B, C), before the MLP."""
        if self.score is not None:
            weights = masked_softmax(self.score(values).squeeze(-1), mask)
            return (values * weights[..., None]).sum(1)
        return masked_max(values, mask) if self.pool == "max" else masked_mean(values, mask)
