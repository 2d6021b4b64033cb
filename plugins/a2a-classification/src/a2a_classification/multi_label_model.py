"""The module of the head `multi-label`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from a2a_classification.layers import layers
from a2a_core.structures import Fused


class MultiLabelClassifier(nn.Module):
    """`pooled` (B, C) -> `logits` (B, labels)."""

    def __init__(self, width: int, names: Sequence[str], threshold: float, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.names, self.threshold = tuple(names), threshold
        self.layers = layers(width, len(self.names), hidden_size, dropout)

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        """`logits` (B, labels)."""
        return {"logits": self.layers(fused.pooled)}

    def predict(self, outputs: Mapping[str, Tensor]) -> list[list[str]]:
        """The names of the labels that apply, in the order of the classes."""
        return [
            [name for name, applies in zip(self.names, row, strict=True) if applies]
            for row in chosen(outputs["logits"], self.threshold).tolist()
        ]


def probabilities(logits: Tensor) -> Tensor:
    """Of each label by itself, in float32 at least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()


def chosen(logits: Tensor, threshold: float) -> Tensor:
    """Which labels are predicted; the head and the metrics ask here."""
    return probabilities(logits) >= threshold
