"""The head `ordinal`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_classification.classify import ClassifyHead
from a2a_classification.labels import are_numbers, listed
from a2a_core.components import Column
from a2a_core.errors import A2AError
from a2a_core.structures import Widths

if TYPE_CHECKING:
    from torch import nn


class OrdinalHead(ClassifyHead):
    """One of several ranks a sample (poor < fair < good), by thresholds on one score (CORAL, arXiv 1901.07884).

    `classes` are named from the lowest to the highest, or are numbers, learned from the training rows. One score, a linear
    map of the fusion's pooled vector, is compared with a threshold before each class but the first: `cumulative`
    (B, classes - 1), the logits of "above class 0", "above class 1" …; the predicted class is the number of those above 0.
    The thresholds are kept in order at every step; the paper proves it of the best ones only (theorem 1).

    `logits` (B, classes) sums the first k of them for class k: the softmax of these is the product of the paper's binary
    probabilities, normalised over the classes, and its likeliest class is the predicted one. So every loss and metric for
    classes fits this head too. The target is `label` (B,), the rank, -100 without a label.
    """

    name = "ordinal"
    cumulative: ClassVar[bool] = True
    ordered: ClassVar[bool] = True

    def resolved(self, column: Column) -> Self:
        """As `classify`; ValueError for learned classes that have no order of their own."""
        found = super().resolved(column)
        if self.classes is None and not are_numbers(found.class_names):
            raise ValueError(
                f"the classes of field `{self.field}`, {listed(found.class_names)}, have no order of their own: "
                "set `classes` from the lowest to the highest"
            )
        return found

    def build(self, spec: Widths) -> nn.Module:
        """`pooled` (B, C) -> `cumulative` (B, classes - 1) and `logits` (B, classes)."""
        from a2a_classification.ordinal_model import OrdinalClassifier

        if spec.width is None:
            raise A2AError("the head `ordinal` reads the fusion's pooled vector, and this fusion makes none")
        return OrdinalClassifier(spec.width, self.class_names, self.hidden_size, self.dropout)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three ranks, and a hidden layer."""
        return cls(classes=("poor", "fair", "good"), hidden_size=8)
