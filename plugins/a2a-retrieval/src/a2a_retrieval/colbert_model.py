"""The module of the loss `colbert`, where it differs from that of `infonce`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from a2a_retrieval.scoring import wide


class ByLength(nn.Module):
    """A loss that sees each query's vectors (B, T, D) divided by their number: so MaxSim is divided by it."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As the loss counts."""
        loss: Any = self.loss
        counts: dict[str, Tensor] = loss.count(inputs, targets)
        return counts

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss of these."""
        length = outputs["query_mask"].sum(1).clamp(min=1)[:, None, None]
        totals: dict[str, Tensor] = self.loss({**outputs, "query": wide(outputs["query"]) / length}, targets)
        return totals
