"""The module of the head `classify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from a2a_classification.layers import layers
from a2a_core.structures import Fused


class Classifier(nn.Module):
    """`pooled` (B, C) -> `logits` (B, classes)."""

    def __init__(self, width: int, names: Sequence[str], hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.names = tuple(names)
        self.layers = layers(width, len(self.names), hidden_size, dropout)

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        """`logits` (B, classes)."""
        return {"logits": self.layers(fused.pooled)}

    def predict(self, outputs: Mapping[str, Tensor]) -> list[str]:
        """The name of the likeliest class."""
        return [self.names[number] for number in outputs["logits"].argmax(-1).tolist()]
