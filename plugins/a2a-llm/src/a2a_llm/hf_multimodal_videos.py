"""Videos as patches of frames, as the video processors of transformers make them, without torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize as of_a_picture
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as of_a_video

from a2a_core import A2AError, Item
from a2a_llm.hf_multimodal_families import FAMILIES
from a2a_llm.hf_multimodal_images import PatchProcessor, Tower, completed

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

FPS, MAX_FRAMES = 2.0, 768
HALF: Final = [0.5, 0.5, 0.5]


def completed_video(config: PretrainedConfig, file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """How videos are prepared: the recipe's keys, over the directory's file, over those of transformers' video processor."""
    vision = config.vision_config
    side = vision.patch_size * vision.spatial_merge_size
    stock: dict[str, Any] = {"size": {"shortest_edge": 128 * side**2, "longest_edge": 768 * side**2}}
    if FAMILIES[config.model_type].timestamps:
        stock |= {"image_mean": HALF, "image_std": HALF}
    moments = {"fps": FPS, "max_frames": MAX_FRAMES}
    moments |= {key: each[key] for each in (file, given) for key in moments if each.get(key) is not None}
    if not moments["fps"] > 0 or type(moments["max_frames"]) is not int or moments["max_frames"] < 1:
        raise A2AError(f"`video_processor`: {moments['fps']} frames a second, at most {moments['max_frames']}, cannot be had")
    ours = {key: value for key, value in file.items() if key not in moments and key != "image_processor_type"}
    others = {key: value for key, value in given.items() if key not in moments}
    made = completed(config, {**stock, **ours}, others, "video_processor")
    return {**made, "fps": float(moments["fps"]), "max_frames": moments["max_frames"]}


class VideoProcessor(PatchProcessor):
    """Videos as patches, of so many frames in time.

    Frames are those at the centres of stretches of 1 / `fps` seconds, at most `max_frames`, further apart in what lasts longer;
    the last stands for those that are missing to whole patches. `spacing` () are the seconds between patches in time, `seconds`
    (t,) where each lies.

    `bounded` is the number of pixels of a whole video, or else of a frame.
    """

    def __init__(self, settings: Mapping[str, Any], tower: Tower, bounded: str, tokens_per_second: float | None) -> None:
        moments = ("fps", "max_frames")
        super().__init__({key: value for key, value in settings.items() if key not in moments}, tower)
        self.fps, self.max_frames = (settings[key] for key in moments)
        self.bounded, self.tokens_per_second = bounded, tokens_per_second

    def __call__(self, raw: Any) -> Item:
        """ValueError for what is no video, or has no such segment."""
        from a2a_video.sampling import Sampling, sampled

        frames = list(sampled(raw, Sampling("fps", fps=self.fps, max_frames=self.max_frames)))
        return self.made([frame.time for frame in frames], [np.asarray(frame.pixels) for frame in frames])

    def made(self, times: list[float], pictures: list[Any]) -> Item:
        """Frames (H, W, 3) -> `pixel_values` (patches, values), `grid` (3,), `seconds` (t,), `spacing` ()."""
        depth = self.settings["temporal_patch_size"]
        missing = -len(times) % depth
        pixels, sides = self.patches(pictures + pictures[-1:] * missing)
        apart = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1 / self.fps
        every = times + times[-1:] * missing
        seconds = [(every[place] + every[place + depth - 1]) / 2 for place in range(0, len(every), depth)]
        grid = torch.tensor([len(seconds), *sides])
        return self.item(pixels, grid, seconds=torch.tensor(seconds), spacing=torch.tensor(depth * apart))

    def patches(self, pictures: list[Any]) -> tuple[Tensor, tuple[int, int]]:
        """Frames (H, W, 3), whole patches of them, to patches (t * h * w, values) and their height and width."""
        depth, size = self.settings["temporal_patch_size"], self.settings["patch_size"]
        height, width = self.sides(len(pictures), *pictures[0].shape[:2])
        resized = [Image.fromarray(each).resize((width, height), self.settings["resample"]) for each in pictures]
        found = self.stock(images=resized, do_resize=False, return_tensors="pt")["pixel_values"]
        # a picture's patches hold it `depth` times, as if it lasted: of each frame one is kept
        frames = found.view(len(pictures) // depth, depth, -1, 3, depth, size * size)[..., 0, :]
        return frames.permute(0, 2, 3, 1, 4).flatten(0, 1).flatten(1), (height // size, width // size)

    def sides(self, frames: int, height: int, width: int) -> tuple[int, int]:
        """What a frame is resized to; ValueError for one that is too long and narrow."""
        bounds = self.settings["size"]
        factor = self.settings["patch_size"] * self.settings["merge_size"]
        least, most = bounds["shortest_edge"], bounds["longest_edge"]
        found: tuple[int, int]
        if self.bounded == "frame":
            found = of_a_picture(height, width, factor, least, most)
        else:
            found = of_a_video(frames, height, width, self.settings["temporal_patch_size"], factor, least, most)
        return found

    def step(self, item: Item) -> float:
        """Positions from one patch to the next in time."""
        return 1.0 if self.tokens_per_second is None else self.tokens_per_second * float(item.tensors["spacing"])

    def pad(self, items: Any) -> dict[str, Any]:
        """As pictures, and `steps`, of each (see `step`)."""
        return {**super().pad(items), "steps": [self.step(item) for item in items]}

    def dummy(self) -> Item:
        """One token of the mean colour."""
        one = super().dummy()
        return one._replace(tensors={**one.tensors, "seconds": torch.zeros(1), "spacing": torch.ones(())})
