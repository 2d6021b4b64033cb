"""The module of the loss `binary-cross-entropy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_classification.weights import Weighted


class BinaryCrossEntropy(Weighted):
    """Totals over a batch, and what they are to be divided by."""

    def __init__(
        self,
        class_weights: Sequence[float] | None,
        pos_weights: Sequence[float] | None,
        label_smoothing: float,
        reduction: str,
    ) -> None:
        super().__init__(class_weights=class_weights, pos_weights=pos_weights)
        self.label_smoothing, self.reduction = label_smoothing, reduction

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the rows say something of: labels, or samples."""
        known = targets["known"]
        return {"binary_cross_entropy": known.sum() if self.reduction == "mean" else known.any(1).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over all labels that the rows say something of; without any, a 0 that depends on the logits."""
        known = targets["known"]
        logits = outputs["logits"].to(torch.promote_types(outputs["logits"].dtype, torch.float32)).masked_fill(~known, 0)
        wanted = targets["labels"].to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        weight = known.to(logits.dtype) if self.class_weights is None else known * self.class_weights.to(logits.dtype)
        positive = None if self.pos_weights is None else self.pos_weights.to(logits.dtype)
        total = F.binary_cross_entropy_with_logits(logits, wanted, weight, pos_weight=positive, reduction="sum")
        return {"binary_cross_entropy": total}
