"""The module of the head `ordinal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from a2a_classification.layers import layers
from a2a_core.structures import Fused


class OrdinalClassifier(nn.Module):
    """`pooled` (B, C) -> `cumulative` (B, classes - 1) and `logits` (B, classes)."""

    def __init__(self, width: int, names: Sequence[str], hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.names = tuple(names)
        self.layers = layers(width, 1, hidden_size, dropout, bias=False)
        steps = len(self.names) - 1
        self.bias = nn.Parameter(torch.arange(steps, 0, -1, dtype=torch.float32) / steps)

    def forward(self, fused: Fused, inputs: Mapping[str, Any], targets: Any = None) -> dict[str, Tensor]:
        """Cumulative logits, the largest first, and the classes' logits."""
        score = self.layers(fused.pooled)
        precise = torch.promote_types(score.dtype, torch.float32)
        cumulative = score.to(precise) + self.bias.to(precise).sort(descending=True).values
        return {"cumulative": cumulative, "logits": class_logits(cumulative)}

    def predict(self, outputs: Mapping[str, Tensor]) -> list[str]:
        """The name of the likeliest class, which is the number of cumulative logits above 0."""
        return [self.names[number] for number in outputs["logits"].argmax(-1).tolist()]


def class_logits(cumulative: Tensor) -> Tensor:
    """Sums of the first 0, 1, 2 … cumulative logits (B, C - 1): (B, C). They rise as long as what is added is above 0."""
    return torch.cat([torch.zeros_like(cumulative[..., :1]), cumulative.cumsum(-1)], -1)
