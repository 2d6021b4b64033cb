"""Counts of right and wrong labels, where a sample has any number of them. All are whole numbers, as in class_metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from a2a_classification.class_metrics import F1
from a2a_classification.multi_label_model import chosen, probabilities


class LabelF1(F1):
    """The same counts for each label (C,), of what the rows say something of."""

    def __init__(self, names: Sequence[str], average: str, threshold: float) -> None:
        super().__init__(names, average)
        self.threshold = threshold

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Logits, labels and which are known, each (B, C)."""
        known = targets["known"].cpu()
        applies = (targets["labels"].cpu() > 0) & known
        predicted = chosen(outputs["logits"].cpu(), self.threshold) & known
        self.counts += torch.stack([(applies & predicted).sum(0), predicted.sum(0), applies.sum(0)])


class ExactMatch:
    """Samples that are all right, samples, labels that are wrong, labels."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self.counts = torch.zeros(4, dtype=torch.int64)

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Logits, labels and which are known, each (B, C)."""
        known = targets["known"].cpu()
        wrong = (chosen(outputs["logits"].cpu(), self.threshold) != (targets["labels"].cpu() > 0)) & known
        here = known.any(1)
        self.counts += torch.stack([(here & ~wrong.any(1)).sum(), here.sum(), wrong.sum(), known.sum()])

    def state(self) -> Tensor:
        """The counts (4,)."""
        return self.counts

    def merge(self, state: Tensor) -> None:
        """Add another rank's."""
        self.counts += state

    def compute(self) -> dict[str, Any]:
        """The share of samples, and of labels."""
        right, samples, wrong, labels = self.counts.tolist()
        return {"exact_match": right / samples, "hamming_loss": wrong / labels} if samples else {}


class AveragePrecision:
    """For each label, how many negatives and positives lie between two thresholds: (2, C, T)."""

    def __init__(self, names: Sequence[str], thresholds: int) -> None:
        self.names, self.size = tuple(names), thresholds
        self.counts = torch.zeros(2, len(names), thresholds, dtype=torch.int64)

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Logits, labels and which are known, each (B, C)."""
        reached = torch.bucketize(probabilities(outputs["logits"].cpu()), torch.linspace(0, 1, self.size), right=True) - 1
        applies, known = targets["labels"].cpu() > 0, targets["known"].cpu()
        label = torch.arange(len(self.names)).expand_as(reached)
        places = ((applies * len(self.names) + label) * self.size + reached)[known]
        self.counts += torch.bincount(places, minlength=self.counts.numel()).view_as(self.counts)

    def state(self) -> Tensor:
        """The histogram."""
        return self.counts

    def merge(self, state: Tensor) -> None:
        """Add another rank's."""
        self.counts += state

    def compute(self) -> dict[str, Any]:
        """The mean, then each label; the sum over thresholds of precision x what recall rises there."""
        negatives, positives = self.counts.double().flip(-1).cumsum(-1)  # at the highest threshold first
        precision = positives / (positives + negatives).clamp(min=1)
        total = positives[:, -1]
        recall = positives / total.clamp(min=1)[:, None]
        rises = recall.diff(dim=-1, prepend=torch.zeros(len(self.names), 1, dtype=recall.dtype))
        each = (precision * rises).sum(-1)
        if not total.any():
            return {}
        columns = (self.names, each.tolist(), total.long().tolist())
        return {
            "average_precision": each[total > 0].mean().item(),
            "per_class": [list(row) for row in zip(*columns, strict=True)],
        }
