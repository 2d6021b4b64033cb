"""Counts of right and wrong classes. All are whole numbers, so any split and any order give the same result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from a2a_classification.labels import IGNORED


class Accuracy:
    """Right and labelled samples."""

    def __init__(self, top_k: int) -> None:
        self.top_k, self.right, self.seen = top_k, 0, 0

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Logits (B, C) and labels (B,)."""
        label, logits = targets["label"], outputs["logits"]
        likeliest = logits.argmax(-1, keepdim=True) if self.top_k == 1 else logits.topk(self.top_k).indices
        self.right += int((likeliest == label[:, None]).sum())
        self.seen += int((label != IGNORED).sum())

    def state(self) -> tuple[int, int]:
        """Right, seen."""
        return self.right, self.seen

    def merge(self, state: tuple[int, int]) -> None:
        """Add another rank's."""
        self.right, self.seen = self.right + state[0], self.seen + state[1]

    def compute(self) -> dict[str, Any]:
        """The share that is right."""
        return {"accuracy": self.right / self.seen} if self.seen else {}


class F1:
    """For each class (C,): right predictions, predictions, labels."""

    def __init__(self, names: Sequence[str], average: str) -> None:
        self.names, self.average = tuple(names), average
        self.counts = torch.zeros(3, len(names), dtype=torch.int64)

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Logits (B, C) and labels (B,)."""
        label, predicted = labelled(outputs, targets)
        for row, classes in enumerate((label[label == predicted], predicted, label)):
            self.counts[row] += torch.bincount(classes, minlength=len(self.names))

    def state(self) -> Tensor:
        """The counts (3, C)."""
        return self.counts

    def merge(self, state: Tensor) -> None:
        """Add another rank's."""
        self.counts += state

    def compute(self) -> dict[str, Any]:
        """The average, then each class."""
        if not self.counts[1:].any():
            return {}
        right, predicted, labels = self.counts.double()
        f1 = 2 * right / (predicted + labels).clamp(min=1)
        precision, recall = right / predicted.clamp(min=1), right / labels.clamp(min=1)
        averages = {
            "macro": f1.sum() / (predicted + labels).count_nonzero(),
            "micro": 2 * right.sum() / (predicted + labels).sum(),
            "weighted": (f1 * labels).sum() / labels.sum().clamp(min=1),
        }
        columns = (self.names, precision.tolist(), recall.tolist(), f1.tolist(), self.counts[2].tolist())
        return {"f1": averages[self.average].item(), "per_class": [list(row) for row in zip(*columns, strict=True)]}


class Confusion:
    """The table (C, C): rows are labels, columns predictions."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.matrix = torch.zeros(len(names), len(names), dtype=torch.int64)

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """Logits (B, C) and labels (B,)."""
        label, predicted = labelled(outputs, targets)
        size = len(self.names)
        self.matrix += torch.bincount(label * size + predicted, minlength=size * size).view(size, size)

    def state(self) -> Tensor:
        """The table."""
        return self.matrix

    def merge(self, state: Tensor) -> None:
        """Add another rank's."""
        self.matrix += state

    def compute(self) -> dict[str, Any]:
        """The table, and the classes in its order."""
        return {"matrix": self.matrix.tolist(), "classes": list(self.names)} if self.matrix.any() else {}


class Kappa(Confusion):
    """Cohen's kappa of the table (C, C)."""

    def __init__(self, names: Sequence[str], weights: str) -> None:
        super().__init__(names)
        self.weights = weights

    def compute(self) -> dict[str, Any]:
        """1 - observed / expected disagreement, as if labels and predictions were independent."""
        total = self.matrix.sum().double()
        if not total:
            return {}
        distance = distances(len(self.names))
        weight = {"quadratic": distance**2, "linear": distance, "none": (distance > 0).double()}[self.weights]
        expected = (weight * torch.outer(self.matrix.sum(1).double(), self.matrix.sum(0).double())).sum() / total
        return {"kappa": (1 - (weight * self.matrix).sum() / expected).item() if expected else 0.0}


class RankError(Confusion):
    """Mean distance of label and prediction, in ranks."""

    def compute(self) -> dict[str, Any]:
        """The mean over all labelled samples."""
        total = self.matrix.sum()
        return {"mae": ((distances(len(self.names)) * self.matrix).sum() / total).item()} if total else {}


def distances(size: int) -> Tensor:
    """|i - j| for all pairs of ranks (C, C)."""
    ranks = torch.arange(size, dtype=torch.float64)
    return (ranks[:, None] - ranks).abs()


def labelled(outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Label and predicted class of the samples that have a label, on the CPU."""
    label, predicted = targets["label"].cpu(), outputs["logits"].argmax(-1).cpu()
    here = label != IGNORED
    return label[here], predicted[here]
