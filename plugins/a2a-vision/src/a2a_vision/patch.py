"""The `patch` encoder: a small vision transformer, trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from a2a_core import option
from a2a_vision.square import SquareEncoder

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_vision.pixels import ImageProcessor


class PatchEncoder(SquareEncoder):
    """Images to patch tokens, by a small vision transformer trained from scratch.

    The plain ViT of arXiv 2205.01580 (fixed 2-D sine-cosine positions, no class token) after arXiv 2010.11929: patches of
    `patch_size` pixels are embedded linearly and pass through pre-norm transformer layers and a last layer norm. The defaults
    are ViT-Ti/16 with half of its layers; handwritten digits of 8 x 8 want `image_size = 8`, `patch_size = 2`, `width = 64`.

    Shapes: `pixel_values` (N, channels, image_size, image_size) to (N, (image_size / patch_size)^2, width), patches by row.
    A picture is resized (bicubic, antialiased) so that its shorter side is `image_size` and its centre is cropped, or it is
    stretched to the square; then a value v of 0 to 1 becomes (v - mean) / std.
    """

    name: ClassVar[str] = "patch"

    width: int = option("channels of a token", default=192, gt=0)
    layers: int = option("transformer layers", default=6, ge=1)
    num_heads: int = option("attention heads; divides `width`", default=3, ge=1)
    dropout: float = option("dropout after attention and in the MLP, in training", default=0.0, ge=0, lt=1)
    patch_size: int = option("height and width of a patch, in pixels; divides `image_size`", default=16, ge=1)
    positions: Literal["sincos", "learned"] = option("fixed sines and cosines, or learned embeddings", default="sincos")

    def check(self) -> None:
        """ValueError where sizes do not divide."""
        super().check()
        if self.image_size % self.patch_size:
            raise ValueError(f"`image_size` = {self.image_size} must be a multiple of `patch_size` = {self.patch_size}")
        if self.width % self.num_heads:
            raise ValueError(f"`width` = {self.width} must be a multiple of `num_heads` = {self.num_heads}")
        if self.positions == "sincos" and self.width % 4:
            raise ValueError(f'`width` = {self.width} must be a multiple of 4 for `positions = "sincos"`')

    def processor(self) -> ImageProcessor:
        """Files to `pixel_values`."""
        from a2a_vision.pixels import ImageProcessor

        return ImageProcessor(self.pixels(), (self.image_size // self.patch_size) ** 2)

    def build(self) -> nn.Module:
        """The transformer with random weights."""
        from a2a_vision.patch_model import PatchModel

        return PatchModel(
            width=self.width,
            layers=self.layers,
            num_heads=self.num_heads,
            dropout=self.dropout,
            grid=self.image_size // self.patch_size,
            patch_size=self.patch_size,
            channels=self.channels,
            learned_positions=self.positions == "learned",
            flip=self.flip,
        )

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """One layer on four patches."""
        return cls(width=16, layers=1, num_heads=2, dropout=0.1, image_size=8, patch_size=4)
