"""The module of the head `regress`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from a2a_classification.layers import layers
from a2a_core.structures import Fused


class Regressor(nn.Module):
    """`pooled` (B, C) -> `value` (B, size), in standard units."""

    def __init__(self, width: int, offset: Sequence[float], scale: Sequence[float], hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.offset, self.scale = tuple(offset), tuple(scale)
        self.layers = layers(width, len(self.offset), hidden_size, dropout)

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        """`value` (B, size)."""
        return {"value": self.layers(fused.pooled)}

    def predict(self, outputs: Mapping[str, Tensor]) -> list[float] | list[list[float]]:
        """In the target's own units: a number a sample, a list where there are several."""
        found = [
            [value * scale + offset for value, scale, offset in zip(row, self.scale, self.offset, strict=True)]
            for row in outputs["value"].tolist()
        ]
        return [row[0] for row in found] if len(self.offset) == 1 else found
