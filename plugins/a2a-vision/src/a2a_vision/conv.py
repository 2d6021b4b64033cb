"""The `conv` encoder: a small convolutional network, trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from a2a_core import option
from a2a_vision.square import SquareEncoder

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_vision.pixels import ImageProcessor


class ConvEncoder(SquareEncoder):
    """Images to a grid of tokens, by a small convolutional network trained from scratch: for few pictures, or small ones.

    Each of `stages` is a 3 x 3 convolution with stride 2, group normalisation (arXiv 1803.08494) and GELU; the channels double
    from stage to stage up to `width`. What a token sees is local and the same everywhere, which a vision transformer would
    have to learn. With `pool` the grid becomes one token: whether something is anywhere (`max`), or how much of it (`mean`).

    Shapes: `pixel_values` (N, channels, image_size, image_size) to (N, ceil(image_size / 2^stages)^2, width), by row, or
    (N, 1, width), after a layer norm. A picture is resized so that its shorter side is `image_size` and its centre is cropped,
    or it is stretched.
    """

    name: ClassVar[str] = "conv"

    image_size: int = option("height and width of the picture, in pixels", default=64, ge=1)
    width: int = option("channels of a token; a multiple of 2^(stages - 1)", default=128, gt=0)
    stages: int = option("convolutions, each of which halves height and width", default=3, ge=1)
    pool: Literal["none", "mean", "max"] = option("one token a picture, over its grid; none: the grid", default="none")
    dropout: float = option("share of a token's channels dropped in training", default=0.0, ge=0, lt=1)

    def check(self) -> None:
        """ValueError where the channels cannot be halved so often."""
        super().check()
        if self.width % 2 ** (self.stages - 1):
            raise ValueError(f"`width` = {self.width} must be a multiple of {2 ** (self.stages - 1)}, 2^(stages - 1)")

    def processor(self) -> ImageProcessor:
        """Files to `pixel_values`."""
        from a2a_vision.pixels import ImageProcessor

        grid = -(-self.image_size // 2**self.stages)
        return ImageProcessor(self.pixels(), grid**2 if self.pool == "none" else 1)

    def build(self) -> nn.Module:
        """The convolutions with random weights."""
        from a2a_vision.conv_model import ConvModel

        return ConvModel(
            channels=self.channels, width=self.width, stages=self.stages, flip=self.flip, pool=self.pool, dropout=self.dropout
        )

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two stages on 8 x 8 pixels."""
        return cls(image_size=8, width=16, stages=2, flip=True, dropout=0.1)
