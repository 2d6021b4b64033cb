"""The loss `cross-entropy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from a2a_classification.balance import BalancedLoss
from a2a_classification.classify import ClassifyHead
from a2a_classification.fits import classes_of
from a2a_core.components import HeadConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn


class CrossEntropyLoss(BalancedLoss):
    """Cross-entropy of `logits` (B, classes) and `label` (B,), in float32; label -100 counts nothing.

    With weight w_c of class c and smoothing e, a sample of class y has the loss

        (1 - e) w_y (-log p_y) + e / C sum_c w_c (-log p_c)          (arXiv 1512.00567, section 7)

    `reduction = "mean"` divides by the sum of w_y over the labelled samples, as torch does: a class's weight shifts the
    balance, not the size of the loss. `"samples"` divides by their number. A plain sum over the batch is no choice: it would
    change with the size of the batch; `weight` scales the loss. With `balance` and `"samples"` this is the class-balanced
    softmax loss of arXiv 1901.05555.
    """

    name = "cross-entropy"
    terms: ClassVar[tuple[str, ...]] = ("cross_entropy",)
    label_smoothing: float = option("share of a label that is spread over all classes", default=0.0, ge=0, lt=1)
    reduction: Literal["mean", "samples"] = option(
        "the sum is divided by the labels' weights, or by their number", default="mean"
    )

    def build(self, head: HeadConfig) -> nn.Module:
        """The module of a head with these classes."""
        from a2a_classification.cross_entropy_model import CrossEntropy

        return CrossEntropy(self.weights_of(classes_of(self, head)), self.label_smoothing, self.reduction)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Everything that it can do."""
        return cls(head="animal", label_smoothing=0.1, class_weights={"cat": 2.0, "owl": 0.5})

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three classes, the last sample without a label."""
        return classified(size)


def classified(size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
    """A head of three classes, random logits, and labels, the last one missing."""
    import torch

    head = ClassifyHead(classes=("cat", "dog", "owl"))
    generator = torch.Generator().manual_seed(0)
    labels: list[int | None] = torch.randint(3, (size - 1,), generator=generator).tolist()
    return head, {"logits": torch.randn(size, 3, generator=generator)}, head.processor().pad([*labels, None])
