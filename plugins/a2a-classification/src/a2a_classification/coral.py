"""The loss `coral`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_classification.fits import asked
from a2a_classification.ordinal import OrdinalHead
from a2a_core.components import HeadConfig, LossConfig

if TYPE_CHECKING:
    from torch import Tensor, nn


class CoralLoss(LossConfig):
    """Binary cross-entropy of every "above class k" of an `ordinal` head, in float32 (arXiv 1901.07884, equation 4).

    With c_k the cumulative logits, a sample of rank y has the loss

        sum_k [k < y] (-log sigmoid(c_k)) + [k >= y] (-log (1 - sigmoid(c_k)))

    so that an error of two ranks costs more than one of one. It is a mean over the labelled samples; thresholds weigh alike.
    """

    name = "coral"
    terms: ClassVar[tuple[str, ...]] = ("coral",)

    def build(self, head: HeadConfig) -> nn.Module:
        """The module."""
        from a2a_classification.coral_model import Coral

        asked(self, head, "cumulative")
        return Coral()

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="quality")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random logits of four ranks, the last sample without one."""
        return ranked(size)


def ranked(size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
    """A head of four ranks, what it would give, and ranks, the last one missing."""
    import torch

    from a2a_classification.ordinal_model import class_logits

    head = OrdinalHead(classes=("bad", "poor", "fair", "good"))
    generator = torch.Generator().manual_seed(0)
    cumulative = torch.randn(size, 3, generator=generator).sort(descending=True).values
    labels: list[int | None] = torch.randint(4, (size - 1,), generator=generator).tolist()
    outputs = {"cumulative": cumulative, "logits": class_logits(cumulative)}
    return head, outputs, head.processor().pad([*labels, None])
