"""Images of any kind to RGB or grey 8-bit pictures, upright; what cannot be read is a ValueError that says why."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

UNREADABLE: Final = (
    ArithmeticError,
    EOFError,
    Image.DecompressionBombError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow's format plugins raise for broken data."""

UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what undoes it."""


def read_image(raw: Any, channels: int) -> Image.Image:
    """An upright picture of mode RGB (3 channels) or L (1).

    `raw` is a path, the bytes of a file, a PIL image, or an array (H, W) or (H, W, C) of uint8 with 1 to 4 channels (grey,
    grey + alpha, RGB, RGB + alpha). Transparent pixels show white, as in transformers; 16-bit greys are scaled to 8 bits.
    """
    if isinstance(raw, np.ndarray):
        return converted(from_array(raw), channels)
    if isinstance(raw, Image.Image):
        return decoded(raw, channels)
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return from_file(io.BytesIO(raw), channels)
    if not isinstance(raw, (str, os.PathLike)):
        raise ValueError(f"an image is a path, bytes, a PIL image or an array of uint8, not {type(raw).__name__}")
    path = Path(raw)
    if not path.is_file():
        raise ValueError("the image is a folder" if path.is_dir() else "the image file does not exist")
    try:
        with path.open("rb") as file:
            return from_file(file, channels)
    except PermissionError:
        raise ValueError("the image file may not be read (permission denied)") from None


def from_file(file: Any, channels: int) -> Image.Image:
    """The first picture in an open file."""
    if not file.read(1):
        raise ValueError("the image is empty (0 bytes)")
    file.seek(0)
    try:
        image = Image.open(file)
    except UnidentifiedImageError:
        raise ValueError("this is no image, or one whose header is damaged or of an unknown format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"the image is too large: {error}") from None
    except UNREADABLE as error:
        raise ValueError(f"the image cannot be opened: {error}") from None
    return decoded(image, channels)


def decoded(image: Image.Image, channels: int) -> Image.Image:
    """Pixels of an image that may still lie in its file."""
    refuse_empty(image.size)
    try:
        image.load()
    except UNREADABLE as error:
        raise ValueError(f"the image is damaged: {error}") from None
    return converted(upright(image), channels)


def upright(image: Image.Image) -> Image.Image:
    """The picture as its EXIF data say that it was seen; unreadable EXIF data say nothing."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except UNREADABLE:
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    """A picture of an array's bytes."""
    if array.dtype != np.uint8:
        raise ValueError(f"an image array must be of uint8 (0 to 255), not {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (2, 3, 4)):
        raise ValueError(f"an image array must be (H, W) or (H, W, 1 to 4 channels), not {array.shape}")
    refuse_empty((array.shape[1], array.shape[0]))
    return Image.fromarray(array)


def refuse_empty(size: tuple[int, int]) -> None:
    """ValueError for a picture without a pixel."""
    if not all(size):
        raise ValueError(f"the image has no pixels ({size[0]} x {size[1]})")


def converted(image: Image.Image, channels: int) -> Image.Image:
    """Mode RGB or L."""
    wanted = "RGB" if channels == 3 else "L"
    if image.mode == "I" or image.mode.startswith("I;16"):
        image = from_16_bit(image)
    if image.mode == "F":
        raise ValueError("the image holds floating-point numbers, of which nothing says what is white")
    if "A" in image.getbands() or "a" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == wanted:
        return image
    try:
        return image.convert(wanted)
    except UNREADABLE as error:
        raise ValueError(f"an image of mode {image.mode} cannot be shown in {wanted}: {error}") from None


def from_16_bit(image: Image.Image) -> Image.Image:
    """Greys of 0 to 65535 to 0 to 255, where Pillow would clip them."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"the image has greys of {values.min()} to {values.max()}; at most 16 bits can be shown")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))
