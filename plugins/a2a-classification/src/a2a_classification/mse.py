"""The loss `mse`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from a2a_classification.fits import scale_of
from a2a_classification.regress import RegressHead
from a2a_core.components import HeadConfig, LossConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn


class MseLoss(LossConfig):
    """Squared difference of `value` (B, size) and its target, in float32 and in the head's standard units.

    Samples without a target count nothing. `reduction = "mean"` divides by the targets' numbers, as torch does; `"samples"`
    divides by the samples with a target: the squared distance of a sample, which grows with `size`.
    """

    name = "mse"
    terms: ClassVar[tuple[str, ...]] = ("mse",)
    reduction: Literal["mean", "samples"] = option("the sum is divided by all numbers, or by the samples", default="mean")

    def build(self, head: HeadConfig) -> nn.Module:
        """The module."""
        from a2a_classification.mse_model import Mse

        scale_of(self, head)
        return Mse(self.reduction)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="score")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random pairs of numbers, the last sample without a target."""
        return measured(size)


def measured(size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
    """A head of two numbers with a scale each, random outputs, and targets, the last one missing."""
    import torch

    head = RegressHead(size=2, mean=(1.0, -3.0), std=(0.5, 4.0))
    generator = torch.Generator().manual_seed(0)
    value, target = torch.randn(2, size, 2, generator=generator)
    return head, {"value": value}, head.processor().pad([*target[:-1].tolist(), None])
