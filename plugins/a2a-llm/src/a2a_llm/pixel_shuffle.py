"""The projector `pixel-shuffle`."""

from __future__ import annotations

from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.components import ProjectorConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import nn


class PixelShuffleProjector(ProjectorConfig):
    """`factor` x `factor` neighbouring patches become one token: their channels side by side, a norm, an MLP of two layers.

    InternVL's connector (arXiv 2404.16821, section 3.1): a picture of 32 x 32 patches costs a language model 256 tokens
    instead of 1024. The encoder's tokens must be the patches of a square picture, by row, without a class token
    (`select = "patch"`), and the square's side a multiple of `factor`.

    Shapes: (N, s * s, width) to (N, (s / factor)^2, out); items may have squares of different sides.
    """

    name = "pixel-shuffle"
    factor: int = option("neighbours along each side that become one", default=2, ge=1)

    def length(self, tokens: int) -> int:
        """Tokens of a square of so many patches; ValueError where they are no such square."""
        side = isqrt(tokens)
        if side * side != tokens or side % self.factor:
            raise ValueError(
                f"the projector `pixel-shuffle` takes squares whose side is a multiple of {self.factor}, not {tokens} tokens"
            )
        return (side // self.factor) ** 2

    def build(self, width: int, out: int) -> nn.Module:
        """The norm and the MLP."""
        from a2a_llm.pixel_shuffle_model import PixelShuffle

        return PixelShuffle(width, out, self.factor)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Four to one."""
        return cls(factor=2)
