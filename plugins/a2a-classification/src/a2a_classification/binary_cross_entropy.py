"""The loss `binary-cross-entropy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import attrs

from a2a_classification.balance import BalancedLoss, named, numbers, targets
from a2a_classification.fits import labels_of
from a2a_classification.multi_label import MultiLabelHead
from a2a_core.components import Column, HeadConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn


class BinaryCrossEntropyLoss(BalancedLoss):
    """Binary cross-entropy of each of `logits` (B, labels), in float32; what a row does not say counts nothing.

    With weight w_c of label c, weight v_c of its positives, smoothing e and y = (1 - e) target + e / 2, its loss is

        w_c (v_c y (-log p) + (1 - y) (-log (1 - p)))

    `balance_positives` learns v_c = negatives / positives from the training rows, so that a rare label's positives weigh as
    much in sum as its negatives; weights learned by `balance` are by the positives of a label (arXiv 1901.05555 with sigmoids).
    `reduction = "mean"` divides by the labels that the rows say something of, as torch does, which knows no weights there;
    `"samples"` by the samples that have any.
    """

    name = "binary-cross-entropy"
    terms: ClassVar[tuple[str, ...]] = ("binary_cross_entropy",)
    pos_weights: dict[str, float] = option("label = weight of its positives; those not named weigh 1", default={})
    balance_positives: bool = option("learn `pos_weights` from the training rows: negatives / positives", default=False)
    label_smoothing: float = option("share of a target that is drawn to 1/2, twice over", default=0.0, ge=0, lt=1)
    reduction: Literal["mean", "samples"] = option("the sum is divided by all labels, or by the samples", default="mean")

    def check(self) -> None:
        """Weights that are numbers, and said once."""
        super().check()
        numbers(self.pos_weights)
        if self.pos_weights and self.balance_positives:
            raise ValueError("`pos_weights` and `balance_positives` both say what the positives weigh: leave one out")

    def resolved(self, head: HeadConfig, column: Column) -> Self:
        """With the weights that the training rows decide."""
        loss = super().resolved(head, column)
        if not self.balance_positives:
            return loss
        names = labels_of(self, head)
        learned = dict(zip(names, ratios(head, column, len(names)), strict=True))
        copy: Self = attrs.evolve(cast("Any", loss), pos_weights=learned, balance_positives=False)
        return copy

    def build(self, head: HeadConfig) -> nn.Module:
        """The module of a head with these labels."""
        from a2a_classification.binary_cross_entropy_model import BinaryCrossEntropy

        names = labels_of(self, head)
        if self.balance_positives:
            raise A2AError(
                "the loss `binary-cross-entropy` learns `balance_positives` from training rows, and has seen none yet"
            )
        positive = named(self.pos_weights, "pos_weights", self.head, names)
        return BinaryCrossEntropy(self.weights_of(names), positive, self.label_smoothing, self.reduction)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Everything that it can do."""
        weights = {"class_weights": {"cat": 2.0}, "pos_weights": {"owl": 3.0}}
        return cls(head="animals", label_smoothing=0.1, **weights)

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three labels."""
        return chosen_labels(size)


def ratios(head: HeadConfig, column: Column, size: int) -> list[float]:
    """Negatives / positives of each label in the training rows; 1 for one that is never positive, or always."""
    positives, negatives = [0] * size, [0] * size
    for target in targets(head, column):
        for place, said in enumerate(target):
            positives[place] += said is True
            negatives[place] += said is False
    return [no / yes if yes and no else 1.0 for yes, no in zip(positives, negatives, strict=True)]


def chosen_labels(size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
    """A head of three labels, random logits, and targets: some not said, the last sample's missing."""
    import torch

    head = MultiLabelHead(classes=("cat", "dog", "owl"))
    generator = torch.Generator().manual_seed(0)
    logits, drawn = torch.randn(2, size, 3, generator=generator)
    targets: list[list[bool | None] | None] = [[bool(each > 0) for each in row] for row in drawn]
    targets[0], targets[-1] = [True, None, False], None
    return head, {"logits": logits}, head.processor().pad(targets)
