"""Videos to what an image encoder takes, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from a2a_core import Item, Processor
from a2a_video.sampling import Sampling, sampled

if TYPE_CHECKING:
    from a2a_video.decoding import Picture

OWN = ("seconds", "lengths")
"""An item's tensors that are not the image processor's."""


class FramesProcessor:
    """A video, or a Segment of one -> Item: the image processor's tensors of each frame (F, ...), and `seconds` (F,)."""

    def __init__(self, image: Processor, sampling: Sampling, pooled: bool, changes: bool = False) -> None:
        self.image, self.sampling, self.pooled, self.changes = image, sampling, pooled, changes
        self.deterministic = image.deterministic

    def __call__(self, raw: Any) -> Item:
        """ValueError for what cannot be read: see `decoding.Video`. A frame that is on at several moments is prepared once."""
        seconds, items, last = [], [], None
        for moment, picture in sampled(raw, self.sampling):
            if self.changes:
                items.append(self.image(change(picture if last is None else last, picture)))
            else:
                items.append(items[-1] if picture is last else self.image(picture))
            seconds.append(moment)
            last = picture
        return self.item(seconds, items)

    def item(self, seconds: Sequence[float], items: Sequence[Item]) -> Item:
        """One video of its frames' items."""
        stacked = {name: torch.stack([item.tensors[name] for item in items]) for name in items[0].tensors}
        lengths = [1 if self.pooled else item.length for item in items]
        return Item(
            {**stacked, "seconds": torch.tensor(seconds), "lengths": torch.tensor([item.length for item in items])},
            sum(lengths),
        )

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`seconds` and `frame_mask` (N, F), the mask true where a frame is real; the image encoder's tensors (N, F, ...).

        What is missing is filled with the image processor's dummy.
        """
        counts = torch.tensor([len(item.tensors["seconds"]) for item in items])
        most = int(counts.max())
        frames = [frame for item in items for frame in self.filled(item, most)]
        images = {name: tensor.unflatten(0, (len(items), most)) for name, tensor in self.image.pad(frames).items()}
        seconds = torch.nn.utils.rnn.pad_sequence([item.tensors["seconds"] for item in items], batch_first=True)
        return {**images, "seconds": seconds, "frame_mask": torch.arange(most) < counts[:, None]}

    def filled(self, item: Item, most: int) -> list[Item]:
        """A video's frames as the image processor made them, and dummies up to so many."""
        images = {name: tensor for name, tensor in item.tensors.items() if name not in OWN}
        found = [
            Item({name: tensor[index] for name, tensor in images.items()}, length)
            for index, length in enumerate(item.tensors["lengths"].tolist())
        ]
        return found + [self.image.dummy()] * (most - len(found))

    def dummy(self) -> Item:
        """A video of one frame, the image processor's dummy."""
        return self.item([0.0], [self.image.dummy()])


def change(before: Picture, now: Picture) -> Picture:
    """Half the difference of two frames around mid-grey; mid-grey too where a video changes its size between them."""
    if before.shape != now.shape:
        return np.full_like(now, 128)
    return (128 + (now.astype(np.int16) - before) // 2).astype(np.uint8)
