"""The adapter `qlora`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from a2a_core.options import option
from a2a_peft.lora import LoraAdapter

if TYPE_CHECKING:
    from torch import nn


class QloraAdapter(LoraAdapter):
    """Low-rank updates of a part whose linear layers are kept in four bits (arXiv 2305.14314): an eighth of float32's memory.

    As `lora`, and afterwards every frozen linear layer of the part becomes NF4: numbers in blocks, each with its largest in
    float32. Weights are unpacked layer by layer to compute with, forward and backward, on the CPU, too. A language model's
    output stays as it is, and so do `modules_to_save`. Pretrained weights are quantised once; what is saved are the four bits.
    bitsandbytes does the packing: `pip install "a2a-peft[qlora]"`.
    """

    name = "qlora"
    dora: Literal[False] = option("magnitudes need whole weights: not with four bits", default=False)
    block_size: Literal[32, 64, 128, 256, 512, 1024] = option("numbers that share a scale", default=64)

    def apply(self, model: nn.Module) -> None:
        """Put the updates in, then quantise what they stand beside; A2AError for a part or a pattern that is not there."""
        from a2a_peft.four_bits import quantise

        super().apply(model)
        quantise(self, model)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Rank two on the kit's encoder."""
        return cls(part="encoders.it", r=2, alpha=4.0)
