"""The module of the loss `margin-mse`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from a2a_retrieval.own_documents import judged, offered, rated
from a2a_retrieval.scoring import full_precision


class MarginMseLoss(nn.Module):
    """Squares, and the negatives that have one."""

    def __init__(self, sides: Mapping[str, str], scale: float) -> None:
        super().__init__()
        self.sides, self.scale = dict(sides), scale

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Negatives that the teacher scored, beside their positive."""
        return {"margin_mse": rated(targets["teacher"], offered(inputs, self.sides))[1][:, 1:].sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without any, a 0 that depends on the outputs."""
        with full_precision(outputs["query"]):
            scores, there = judged(outputs)
            teacher, known = rated(targets["teacher"], there)
            student = self.scale * (scores[:, :1] - scores[:, 1:])
            wrong = (student - (teacher[:, :1] - teacher[:, 1:])).masked_fill(~known[:, 1:], 0)
            return {"margin_mse": wrong.square().sum()}
