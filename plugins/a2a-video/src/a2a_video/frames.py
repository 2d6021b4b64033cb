"""The `frames` encoder: any image encoder on the frames of a video, and a part that looks along time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from a2a_core import EncoderConfig, option
from a2a_video.video import VideoConfig, example_files

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_video.frames_processor import FramesProcessor


class FramesEncoder(VideoConfig):
    """Videos to tokens: an image encoder on each frame, then layers along time.

    `image` is any encoder of images that is installed, `[encoders.<key>.image] use = "patch"` or `"hf-vision"`. It gets frames
    as arrays (height, width, 3) of uint8, prepared by its own processor. With `freeze = true` in its table it stays as it is
    while the rest trains.

    `look_at = "changes"` gives it, in place of a frame, half of its difference to the one before around mid-grey, the RGB
    difference of Temporal Segment Networks (arXiv 1608.00859, section 3.2): the scene disappears, and what moves remains. The
    first frame has changed nowhere.

    `pool = "mean"` makes one token of a frame, the mean of what the image encoder makes of it; `"none"` keeps them all, and
    each place of the picture is followed through time by itself, as by the time attention of TimeSformer (arXiv 2102.05095,
    divided space-time). A frame's second, from the start of the recording or segment, is added as sines and cosines.

    `temporal = "conv"` are residual blocks of ConvNeXt (arXiv 2201.03545, figure 4) over `kernel` frames; `"attention"` are
    pre-norm transformer layers over all frames; with `"none"` no frame sees another, and the order is left to the fusion.

    Shapes: N videos of up to F frames, of P tokens each, to (N, F x P, width), frame by frame; P is 1 with `pool = "mean"`.

    `sampling = "uniform"` looks at the centres of `num_frames` equal parts, and sees a frame several times where a clip has
    fewer: every clip becomes as many tokens. `"fps"` sees each frame once at most, so that short clips become fewer tokens.
    """

    name: ClassVar[str] = "frames"

    image: EncoderConfig = option("the encoder of single frames")
    look_at: Literal["frames", "changes"] = option("each frame, or what changed since the one before", default="frames")
    pool: Literal["mean", "none"] = option("one token a frame, the mean of the image encoder's, or all of them", default="mean")
    temporal: Literal["attention", "conv", "none"] = option("what looks along time", default="attention")
    width: int | None = option("channels of a token (none: those of the image encoder)", default=None, ge=1)
    layers: int = option("layers or blocks along time", default=2, ge=1)
    num_heads: int = option("attention heads of a layer; divides the width", default=4, ge=1)
    kernel: int = option("frames that a convolution sees; odd", default=3, ge=1)
    dropout: float = option("dropout rate of the layers along time", default=0.1, ge=0, lt=1)

    def check(self) -> None:
        """ValueError for an image encoder of something else, and for sizes that do not fit one another."""
        if self.image.modality not in ("image", ""):
            raise ValueError(f"`image` must be an encoder of images; `{self.image.name}` is one of {self.image.modality}")
        if self.image.field or self.image.cache is True:
            key = "field" if self.image.field else "cache"
            raise ValueError(f"`image.{key}` has no meaning: it reads this encoder's frames; set `{key}` one table higher")
        if self.kernel % 2 == 0:
            raise ValueError(f"`kernel` = {self.kernel} must be odd, so that it has a middle")
        if self.temporal == "attention" and self.width is not None and self.width % self.num_heads:
            raise ValueError(f"`width` = {self.width} must be a multiple of `num_heads` = {self.num_heads}")

    def resolved(self) -> Self:
        """A copy with a self-contained image encoder."""
        return attrs.evolve(self, image=self.image.resolved())

    def processor(self) -> FramesProcessor:
        """Videos to what the image encoder takes, frame by frame, and `seconds`."""
        from a2a_video.frames_processor import FramesProcessor

        return FramesProcessor(self.image.processor(), self.moments, self.pool == "mean", self.look_at == "changes")

    def build(self) -> nn.Module:
        """The image encoder and what looks along time, with random weights."""
        from a2a_video.frames_model import FramesModel

        image = self.image.build()
        if self.image.freeze:
            image.requires_grad_(False)
        return FramesModel(
            image,
            pooled=self.pool == "mean",
            temporal=self.temporal,
            width=self.width,
            layers=self.layers,
            num_heads=self.num_heads,
            kernel=self.kernel,
            dropout=self.dropout,
        )

    def load(self, module: Any) -> None:
        """The image encoder's pretrained weights, where it has some."""
        self.image.load(module.image)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Files of several lengths, sizes and rates."""
        return example_files(folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """One layer over up to five frames of a tiny `patch`."""
        from a2a_vision.patch import PatchEncoder

        return cls(image=PatchEncoder.tiny(folder), sampling="fps", fps=8.0, max_frames=5, width=12, layers=1, num_heads=2)
