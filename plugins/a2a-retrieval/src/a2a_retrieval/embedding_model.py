"""The module of the head `embedding`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core.structures import Tokens
from a2a_retrieval.scoring import unit, wide
from a2a_retrieval.sides_model import Sides, projected, projections


class Embedding(Sides):
    """Tokens of items -> vectors (N, D)."""

    def __init__(
        self,
        encoders: Mapping[str, str],
        owners: Mapping[str, str],
        widths: Mapping[str, int],
        pool: str,
        dimension: int | None,
        normalise: bool,
    ) -> None:
        super().__init__(encoders, owners)
        self.pool, self.normalise = pool, normalise
        self.width = dimension or max(widths.values())
        weighed = widths if pool == "attention" else {}
        self.scores = nn.ModuleDict({key: nn.Linear(width, 1, bias=False) for key, width in weighed.items()})
        for score in self.scores.values():
            nn.init.zeros_(score.weight)  # type: ignore[arg-type]  # starts as the mean
        self.projections = projections(widths, dimension)

    def vectors(self, side: str, tokens: Tokens) -> Tensor:
        """(N, D), what a query, a positive or a negative becomes."""
        owner = self.owners[side]
        found = projected(self.pooled(owner, tokens.values, tokens.mask), owner, self.projections)
        return unit(found) if self.normalise else found

    def embedded(self, side: str, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Every item is real."""
        found = self.vectors(side, tokens)
        return found, torch.ones(len(found), dtype=torch.bool, device=found.device)

    def pooled(self, owner: str, values: Tensor, mask: Tensor) -> Tensor:
        """(N, T, C) -> (N, C), in float32 at least."""
        length = mask.shape[1]
        if self.pool in ("cls", "last"):
            places = torch.arange(1, length + 1, device=mask.device)
            found = (mask * (places if self.pool == "last" else places.flip(0))).argmax(1)
            return wide(values[torch.arange(len(values), device=mask.device), found])
        values = values.masked_fill(~mask[..., None], 0)
        if self.pool == "mean":
            return values.sum(1, dtype=wide(values[:0]).dtype) / mask.sum(1, keepdim=True).clamp(min=1)
        layer: Any = self.scores[owner]
        scores = wide(layer(values.to(layer.weight.dtype))).squeeze(-1)
        weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(1)
        return (weights[:, None] @ wide(values)).squeeze(1)
