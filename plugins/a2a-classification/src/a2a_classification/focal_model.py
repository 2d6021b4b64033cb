"""The modules of the loss `focal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from a2a_classification.labels import IGNORED
from a2a_classification.weights import Weighted


class SoftmaxFocal(Weighted):
    """For one class a sample: totals over a batch, and what they are to be divided by."""

    def __init__(self, class_weights: Sequence[float] | None, gamma: float) -> None:
        super().__init__(class_weights=class_weights)
        self.gamma = gamma

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The labelled samples."""
        return {"focal": (targets["label"] != IGNORED).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over the labelled samples; without any, a 0 that depends on the logits."""
        here, label = targets["label"] != IGNORED, targets["label"].clamp(min=0)
        logits = outputs["logits"].to(torch.promote_types(outputs["logits"].dtype, torch.float32))
        log_p = logits.log_softmax(-1).gather(1, label[:, None])[:, 0]
        wrong = (-log_p.expm1()).clamp(min=torch.finfo(log_p.dtype).eps)  # 1 - p; of exactly 0, roots have no gradient
        loss = -log_p * wrong**self.gamma
        if self.class_weights is not None:
            loss = loss * self.class_weights.to(loss.dtype)[label]
        return {"focal": loss.masked_fill(~here, 0).sum()}


class SigmoidFocal(Weighted):
    """For any number of labels a sample."""

    def __init__(self, class_weights: Sequence[float] | None, gamma: float, alpha: float | None, reduction: str) -> None:
        super().__init__(class_weights=class_weights)
        self.gamma, self.alpha, self.reduction = gamma, alpha, reduction

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the rows say something of: labels, or samples."""
        known = targets["known"]
        return {"focal": known.sum() if self.reduction == "mean" else known.any(1).sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over all labels that the rows say something of; without any, a 0 that depends on the logits."""
        applies = targets["labels"] > 0
        logits = outputs["logits"].to(torch.promote_types(outputs["logits"].dtype, torch.float32))
        right = torch.where(applies, logits, -logits)  # the logit of p_t; 1 - p_t is the sigmoid of its negative
        loss = -F.logsigmoid(right) * (self.gamma * F.logsigmoid(-right)).exp()
        if self.alpha is not None:
            loss = loss * torch.where(applies, self.alpha, 1 - self.alpha)
        if self.class_weights is not None:
            loss = loss * self.class_weights.to(loss.dtype)
        return {"focal": loss.masked_fill(~targets["known"], 0).sum()}
