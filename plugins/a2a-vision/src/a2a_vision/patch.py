"""The `patch` encoder: a small vision transformer, trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from a2a_core import EncoderConfig, option

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_vision.pixels import ImageProcessor


class PatchEncoder(EncoderConfig):
    """Images to patch tokens, by a small vision transformer trained from scratch.

    The plain ViT of arXiv 2205.01580 (fixed 2-D sine-cosine positions, no class token) after arXiv 2010.11929: patches of
    `patch_size` pixels are embedded linearly and pass through pre-norm transformer layers and a last layer norm. The defaults
    are ViT-Ti/16 with half of its layers; handwritten digits of 8 x 8 want `image_size = 8`, `patch_size = 2`, `width = 64`.

    Shapes: `pixel_values` (N, channels, image_size, image_size) to (N, (image_size / patch_size)^2, width), patches by row.
    A picture is resized (bicubic, antialiased) so that its shorter side is `image_size` and its centre is cropped, or it is
    stretched to the square; then a value v of 0 to 1 becomes (v - mean) / std.
    """

    name: ClassVar[str] = "patch"
    modality: ClassVar[str] = "image"
    reads: ClassVar[Literal["value", "file"]] = "file"

    width: int = option("channels of a token", default=192, gt=0)
    layers: int = option("transformer layers", default=6, ge=1)
    num_heads: int = option("attention heads; divides `width`", default=3, ge=1)
    dropout: float = option("dropout after attention and in the MLP, in training", default=0.0, ge=0, lt=1)
    image_size: int = option("height and width of the picture, in pixels", default=224, ge=1)
    patch_size: int = option("height and width of a patch, in pixels; divides `image_size`", default=16, ge=1)
    channels: Literal[1, 3] = option("1: grey, 3: RGB", default=3)
    positions: Literal["sincos", "learned"] = option("fixed sines and cosines, or learned embeddings", default="sincos")
    resize: Literal["crop", "stretch"] = option("crop the centre square, or stretch the picture to it", default="crop")
    mean: tuple[float, ...] = option("mean of the pixels, of 0 to 1: one number or one a channel", default=(0.5,))
    std: tuple[float, ...] = option("standard deviation of the pixels: one number or one a channel", default=(0.5,), gt=0)

    def check(self) -> None:
        """ValueError where sizes do not divide."""
        if self.image_size % self.patch_size:
            raise ValueError(f"`image_size` = {self.image_size} must be a multiple of `patch_size` = {self.patch_size}")
        if self.width % self.num_heads:
            raise ValueError(f"`width` = {self.width} must be a multiple of `num_heads` = {self.num_heads}")
        if self.positions == "sincos" and self.width % 4:
            raise ValueError(f'`width` = {self.width} must be a multiple of 4 for `positions = "sincos"`')
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise ValueError(f"`{name}` must hold one number, or one for each of {self.channels} channels")

    def processor(self) -> ImageProcessor:
        """Files to `pixel_values`."""
        from a2a_vision.pixels import ImageProcessor, Pixels

        square = (self.image_size, self.image_size)
        pixels = Pixels(
            mean=self.mean,
            std=self.std,
            stretch=square if self.resize == "stretch" else None,
            edge=self.image_size if self.resize == "crop" else None,
            crop=square,
            channels=self.channels,
        )
        return ImageProcessor(pixels, (self.image_size // self.patch_size) ** 2)

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
        )

    def examples(self, folder: Path) -> Sequence[Any]:
        """Files of several sizes, modes and formats."""
        return example_files(folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """One layer on four patches."""
        return cls(width=16, layers=1, num_heads=2, dropout=0.1, image_size=8, patch_size=4)


def example_files(folder: Path) -> list[Path]:
    """Three pictures: a grey PNG, a landscape JPEG, a portrait PNG with transparency."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    files = []
    for name, shape in (("grey.png", (8, 8)), ("landscape.jpg", (12, 20, 3)), ("portrait.png", (17, 9, 4))):
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
        files.append(folder / name)
    return files
