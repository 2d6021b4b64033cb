"""What the encoders of square pictures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from a2a_core import EncoderConfig, option

if TYPE_CHECKING:
    from a2a_vision.pixels import Pixels


class SquareEncoder(EncoderConfig):
    """An encoder whose pictures are all brought to one square size."""

    modality: ClassVar[str] = "image"
    reads: ClassVar[Literal["value", "file"]] = "file"

    image_size: int = option("height and width of the picture, in pixels", default=224, ge=1)
    channels: Literal[1, 3] = option("1: grey, 3: RGB", default=3)
    resize: Literal["crop", "stretch"] = option("crop the centre square, or stretch the picture to it", default="crop")
    flip: bool = option("mirror half of the pictures in training, drawn anew each time", default=False)
    mean: tuple[float, ...] = option("mean of the pixels, of 0 to 1: one number or one a channel", default=(0.5,))
    std: tuple[float, ...] = option("standard deviation of the pixels: one number or one a channel", default=(0.5,), gt=0)

    def check(self) -> None:
        """ValueError where numbers and channels do not go together."""
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.channels):
                raise ValueError(f"`{name}` must hold one number, or one for each of {self.channels} channels")

    def pixels(self) -> Pixels:
        """Files to (channels, image_size, image_size)."""
        from a2a_vision.pixels import Pixels

        square = (self.image_size, self.image_size)
        return Pixels(
            mean=self.mean,
            std=self.std,
            stretch=square if self.resize == "stretch" else None,
            edge=self.image_size if self.resize == "crop" else None,
            crop=square,
            channels=self.channels,
        )

    def examples(self, folder: Path) -> Sequence[Any]:
        """Files of several sizes, modes and formats."""
        return example_files(folder)


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
