"""Videos to clips of normalised frames, as transformers' video processors make them, without torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from a2a_core import Item
from a2a_video.sampling import Sampling, sampled

if TYPE_CHECKING:
    from a2a_vision.pixels import Pixels


class ClipProcessor:
    """A video, or a Segment of one -> Item with `pixel_values` (frames, channels, H, W); every clip has as many tokens."""

    deterministic = True

    def __init__(self, pixels: Pixels, num_frames: int, length: int) -> None:
        self.pixels, self.num_frames, self.length = pixels, num_frames, length

    def __call__(self, raw: Any) -> Item:
        """ValueError for what cannot be read: see `decoding.Video`. A frame that is on at several moments is prepared once."""
        frames, last = list[Tensor](), None
        for _, picture in sampled(raw, Sampling("uniform", self.num_frames)):
            frames.append(frames[-1] if picture is last else self.pixels(picture))
            last = picture
        return Item({"pixel_values": torch.stack(frames)}, self.length)

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`pixel_values` (N, frames, channels, H, W); nothing needs padding."""
        return {"pixel_values": torch.stack([item.tensors["pixel_values"] for item in items])}

    def dummy(self) -> Item:
        """A clip of the mean colour."""
        clip = torch.zeros(self.num_frames, self.pixels.channels, *self.pixels.size)
        return Item({"pixel_values": clip}, self.length)
