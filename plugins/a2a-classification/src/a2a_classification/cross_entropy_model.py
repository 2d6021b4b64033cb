"""The module of the loss `cross-entropy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_classification.labels import IGNORED
from a2a_classification.weights import Weighted


class CrossEntropy(Weighted):
    """Totals over a batch, and what they are to be divided by."""

    def __init__(self, class_weights: Sequence[float] | None, label_smoothing: float, reduction: str) -> None:
        super().__init__(class_weights=class_weights)
        self.label_smoothing, self.reduction = label_smoothing, reduction

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The labelled samples, each as heavy as its class unless `reduction` says otherwise."""
        label = targets["label"]
        here = label != IGNORED
        if self.class_weights is None or self.reduction == "samples":
            return {"cross_entropy": here.sum()}
        weights = self.class_weights.to(label.device)[label.clamp(min=0)]
        return {"cross_entropy": weights.masked_fill(~here, 0).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over the labelled samples; without any, a 0 that depends on the logits."""
        logits = outputs["logits"].to(torch.promote_types(outputs["logits"].dtype, torch.float32))
        total = F.cross_entropy(
            logits,
            targets["label"],
            None if self.class_weights is None else self.class_weights.to(logits.dtype),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=self.label_smoothing,
        )
        return {"cross_entropy": total}
