"""The modules of the reference components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core.structures import Fused, Tokens


class NumbersToTokens(nn.Module):
    """(N, T) -> (N, T, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(1, width)

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        """One token a number."""
        mask = torch.arange(numbers.shape[1], device=numbers.device) < lengths[:, None]
        return Tokens(self.linear(numbers[..., None]), mask)


class MeanOfTokens(nn.Module):
    """Tokens of any modalities -> their mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input_width = self.width = width
        self.linear = nn.Linear(width, width)

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """`tokens` (B, T, C), `pooled` (B, C) and each modality's tokens by sample."""
        size = inputs["size"]
        parts = {key: tokens.by_sample(size) for key, tokens in encoded.items()}
        values = torch.cat([tokens.values for tokens in parts.values()], 1)
        mask = torch.cat([tokens.mask for tokens in parts.values()], 1)
        values = self.linear(values).masked_fill(~mask[..., None], 0)
        pooled = values.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return Fused(size, Tokens(values, mask), pooled, parts)


class NumberOfPooled(nn.Module):
    """A sample's vector -> a number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, fused: Fused, inputs: Any, targets: Any = None) -> dict[str, Tensor]:
        """`values` (B,)."""
        assert fused.pooled is not None
        return {"values": self.linear(fused.pooled)[:, 0]}

    def predict(self, outputs: Mapping[str, Tensor]) -> list[float]:
        """The numbers."""
        found: list[float] = outputs["values"].tolist()
        return found
