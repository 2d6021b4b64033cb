"""Pictures to normalised tensors, as transformers' Pillow image processors make them, to one grey level and faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from a2a_core import Item
from a2a_vision.reading import read_image
from a2a_vision.resampling import Size, Window, resized


class Pixels:
    """Raw image -> (channels, height, width) float32.

    The picture is resized to `stretch`, or so that its shorter side is `edge`, or not at all (neither); then its centre is
    cropped to `crop`, with black where it is smaller. A value v of 0 to 255 becomes (v * factor - mean) / std. `exact`: without
    the difference of a grey level, in more time.
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        stretch: Size | None = None,
        edge: int | None = None,
        crop: Size | None = None,
        resample: int = Image.Resampling.BICUBIC,
        factor: float = 1 / 255,
        channels: int = 3,
        exact: bool = False,
    ) -> None:
        size = crop or stretch
        if size is None:
            raise ValueError("pictures would come out in different sizes: give a size to stretch them to, or a crop")
        self.size: Size = size
        self.stretch, self.edge, self.exact = stretch, edge, exact
        self.resample, self.channels = Image.Resampling(resample), channels
        deviation = torch.tensor(std, dtype=torch.float64).view(-1, 1, 1)
        self.scale = (factor / deviation).float()
        self.shift = (-torch.tensor(mean, dtype=torch.float64).view(-1, 1, 1) / deviation).float()

    def __call__(self, raw: Any) -> Tensor:
        """ValueError that says what is wrong with the image."""
        return self.prepared(read_image(raw, self.channels)).mul_(self.scale).add_(self.shift)

    def prepared(self, image: Image.Image) -> Tensor:
        """A picture of mode RGB or L, resized and cropped: (channels, height, width) float32, 0 to 255."""
        whole, crop = self.target(image.height, image.width), self.size
        top, left = (whole[0] - crop[0]) // 2, (whole[1] - crop[1]) // 2
        window = Window(max(top, 0), max(left, 0), min(whole[0], crop[0]), min(whole[1], crop[1]))
        pixels = resized(image, whole, window, self.resample, self.exact)
        above, before = max(-top, 0), max(-left, 0)
        below, behind = crop[0] - window.height - above, crop[1] - window.width - before
        return pad(pixels, (before, behind, above, below)) if above + below + before + behind else pixels

    def target(self, height: int, width: int) -> Size:
        """The size of the whole picture after resizing; the longer side is rounded down."""
        if self.edge is None:
            return self.stretch or (height, width)
        if height <= width:
            return self.edge, int(self.edge * width / height)
        return int(self.edge * height / width), self.edge


class ImageProcessor:
    """Raw image -> Item with `pixel_values`; every picture becomes the same size and number of tokens."""

    deterministic = True

    def __init__(self, pixels: Pixels, length: int) -> None:
        self.pixels, self.length = pixels, length

    def __call__(self, raw: Any) -> Item:
        """One image: see `reading.read_image`."""
        return Item({"pixel_values": self.pixels(raw)}, self.length)

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`pixel_values` (N, channels, height, width); nothing needs padding."""
        return {"pixel_values": torch.stack([item.tensors["pixel_values"] for item in items])}

    def dummy(self) -> Item:
        """A picture of the mean colour."""
        return Item({"pixel_values": torch.zeros(self.pixels.channels, *self.pixels.size)}, self.length)
