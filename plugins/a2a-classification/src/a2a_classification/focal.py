"""The loss `focal`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from a2a_classification.balance import BalancedLoss
from a2a_classification.cross_entropy import classified
from a2a_classification.fits import has, names_of
from a2a_core.components import HeadConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn


class FocalLoss(BalancedLoss):
    """Cross-entropy in which what is easy counts little (arXiv 1708.02002, equations 4 and 5), in float32.

    With p_t the probability of what is true and weight w_c of class c, a loss is

        w_c (1 - p_t)^gamma (-log p_t)

    For a head that tells classes apart p is a softmax, and it is a mean over the labelled samples. For `multi-label` p is a
    sigmoid, each label a loss of its own, weighed further by `alpha` where it applies and by 1 - `alpha` where not;
    `reduction` says whether that is a mean over all labels that the rows say something of, or over samples. (The paper's
    samples are a detector's anchors; it divides by the positive ones.) With `balance` it is the class-balanced focal loss of
    arXiv 1901.05555. `gamma = 0` is cross-entropy.
    """

    name = "focal"
    terms: ClassVar[tuple[str, ...]] = ("focal",)
    gamma: float = option("how much what is easy loses of its weight", default=2.0, ge=0)
    alpha: float | None = option(
        "`multi-label`: weight of labels that apply, 1 - alpha of others (none: 1 of both)", default=None, gt=0, lt=1
    )
    reduction: Literal["mean", "samples"] = option(
        "`multi-label`: the sum is divided by all labels, or by the samples", default="mean"
    )

    def build(self, head: HeadConfig) -> nn.Module:
        """The module, by softmax or by sigmoid."""
        from a2a_classification.focal_model import SigmoidFocal, SoftmaxFocal

        weights = self.weights_of(names_of(self, head))
        if has(head, "label_names"):
            return SigmoidFocal(weights, self.gamma, self.alpha, self.reduction)
        if self.alpha is not None:
            raise A2AError(
                f"`alpha` weighs labels that apply against those that do not; the head `{head.name}` tells classes apart",
                hint="weigh its classes by `class_weights` or `balance`",
            )
        return SoftmaxFocal(weights, self.gamma)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Everything that it can do with classes."""
        return cls(head="animal", gamma=1.5, class_weights={"cat": 2.0, "owl": 0.5})

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of three classes, the last sample without a label."""
        return classified(size)
