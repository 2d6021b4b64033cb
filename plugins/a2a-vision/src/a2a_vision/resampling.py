"""Pillow's antialiased resizing of 8-bit pictures, of a window alone, within one grey level of Pillow and about twice as fast.

Pillow resamples every row, rounds and clips to 0 to 255, and resamples the columns. Here both passes are sums of weighted rows
(`embedding_bag`, which is vectorised) of the same taps, on the picture turned over for the first. What lies between the passes
is clipped as Pillow clips it but not rounded: both results are within 0.5 * sum |weights| < 1 of one another before the last
rounding, so that they differ by one at most. (torch's own uint8 resizing rounds in between, with weights of 15 bits, and is
two levels off in a few pixels of many photos; Pillow's `box` is read as float32 and has the same effect.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import embedding_bag

Size = tuple[int, int]
"""Height, width."""
Array = np.ndarray[Any, np.dtype[np.float64]]


class Window(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def bilinear(x: Array) -> Array:
    """A triangle."""
    return np.maximum(1 - abs(x), 0)


def bicubic(x: Array) -> Array:
    """Keys' cubic convolution with a = -0.5 (doi 10.1109/TASSP.1981.1163711)."""
    x = abs(x)
    return np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))


def lanczos(x: Array) -> Array:
    """A sinc, windowed by one of thrice the width."""
    return np.where(abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


KERNELS: Final = {
    Image.Resampling.BILINEAR: (bilinear, 1),
    Image.Resampling.BICUBIC: (bicubic, 2),
    Image.Resampling.LANCZOS: (lanczos, 3),
}
"""A filter and its reach, in source pixels when enlarging."""

STRIP: Final = 150_000
"""Source pixels that are resampled at once: with their floats about 2 MB."""


class Taps(NamedTuple):
    """What some positions of a resized axis are made of: source positions from `start` up to `stop`, and their weights."""

    start: int
    stop: int
    indices: Tensor
    """One position's taps after the other's, counted from `start`, and so again in each further channel."""
    offsets: Tensor
    """Where each position's taps begin."""
    weights: Tensor
    """They add up to 1 for each position."""

    def applied(self, rows: Tensor) -> Tensor:
        """((stop - start) * channels, C) -> (channels * positions, C)."""
        return embedding_bag(self.indices, rows, self.offsets, mode="sum", per_sample_weights=self.weights)


@lru_cache(maxsize=256)
def taps(source: int, target: int, start: int, count: int, resample: Image.Resampling, channels: int = 1) -> Taps:
    """Of an axis of `source` pixels resized to `target`, the taps of `count` pixels from `start` on.

    The channels of a source position lie side by side, those of the result apart.
    """
    kernel, reach = KERNELS[resample]
    scale = source / target
    stretch = max(scale, 1.0)
    centres = (np.arange(start, start + count) + 0.5) * scale
    first = np.maximum(centres - reach * stretch + 0.5, 0).astype(np.int64)
    last = np.minimum(centres + reach * stretch + 0.5, source).astype(np.int64)
    positions = first[:, None] + np.arange((last - first).max())
    inside = positions < last[:, None]
    weights = kernel((positions + 0.5 - centres[:, None]) / stretch) * inside
    weights /= weights.sum(1, keepdims=True)
    low, high = int(first.min()), int(last.max())
    indices = torch.from_numpy(positions[inside] - low)
    sizes = torch.from_numpy(inside.sum(1)).repeat(channels)
    return Taps(
        low,
        high,
        torch.cat([indices * channels + channel for channel in range(channels)]),
        sizes.cumsum(0) - sizes,
        torch.from_numpy(weights[inside]).float().repeat(channels),
    )


def resized(image: Image.Image, whole: Size, window: Window, resample: Image.Resampling, exact: bool = False) -> Tensor:
    """The window of the picture as if it had been resized to `whole`: (channels, height, width) float32 of whole numbers.

    `exact`: by Pillow itself, to the last grey level, in twice the time.
    """
    if (image.height, image.width) != whole:
        if resample in KERNELS and rows_first(image, whole) and not exact:
            return resampled(image, whole, window, resample)
        image = image.resize((whole[1], whole[0]), resample)
    right, bottom = window.left + window.width, window.top + window.height
    bands = image.crop((window.left, window.top, right, bottom)).split()
    pixels = np.empty((len(bands), window.height, window.width), dtype=np.float32)
    for plane, band in zip(pixels, bands, strict=True):
        plane[...] = np.asarray(band)
    return torch.from_numpy(pixels)


def rows_first(image: Image.Image, whole: Size) -> bool:
    """Whether Pillow resamples rows before columns; since version 13 it does not where the height shrinks far more."""
    lost = image.height - whole[0], image.width - whole[1]
    return lost[0] <= max(2 * lost[1], 0)


def resampled(image: Image.Image, whole: Size, window: Window, resample: Image.Resampling) -> Tensor:
    """As `resized`, by taps; the first pass takes a strip of rows after the other, which stay in the processor's cache."""
    channels = len(image.getbands())
    columns = taps(image.width, whole[1], window.left, window.width, resample)
    rows = taps(image.height, whole[0], window.top, window.height, resample, channels)
    lines = np.empty(((rows.stop - rows.start) * channels, window.width), dtype=np.float32)
    step = max(STRIP // (columns.stop - columns.start), 1)
    for top in range(rows.start, rows.stop, step):
        bottom = min(top + step, rows.stop)
        strip = image.crop((columns.start, top, columns.stop, bottom)).transpose(Image.Transpose.TRANSPOSE)
        source = torch.from_numpy(np.asarray(strip, dtype=np.float32)).flatten(1)  # (width, height * channels)
        wide = columns.applied(source).clamp_(0, 255)
        lines[(top - rows.start) * channels : (bottom - rows.start) * channels] = wide.numpy().T
    pixels = rows.applied(torch.from_numpy(lines)).round_().clamp_(0, 255)
    return pixels.view(channels, window.height, window.width)
