"""What reads the media of a multimodal model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from transformers import PretrainedConfig

from a2a_core import A2AError
from a2a_core.pretrained.configuration import read_preprocessor
from a2a_core.pretrained.tracing import tracing
from a2a_llm.hf_multimodal_families import FAMILIES
from a2a_llm.hf_multimodal_images import PatchProcessor, PictureProcessor, StockImages, Tower, completed

if TYPE_CHECKING:
    from a2a_core.structures import Processor


class Preparation(NamedTuple):
    """How media are prepared, by modality; empty for those that a model does not read."""

    image: Mapping[str, Any]
    video: Mapping[str, Any]
    audio: Mapping[str, Any]


OPTIONS: Final = {"image": "image_processor", "video": "video_processor", "audio": "feature_extractor"}


def prepared(config: PretrainedConfig, path: Path | None, given: Preparation) -> Preparation:
    """What a recipe says over the directory's files over the stock; A2AError for what the model does not read."""
    family = FAMILIES[config.model_type]
    for modality, option in OPTIONS.items():
        if getattr(given, modality) and modality not in family.marks:
            raise A2AError(f"`{option}` is given, and a `{config.model_type}` model reads no {modality}")

    def file(modality: str) -> dict[str, Any]:
        return read_preprocessor(path, OPTIONS[modality]) if path is not None else {}

    if family.layout == "sounds":
        from a2a_llm.hf_multimodal_sounds import completed as heard

        return Preparation({}, {}, heard(config, file("audio"), given.audio))
    images, videos = completed(config, file("image"), given.image), dict[str, Any]()
    if "video" in family.marks:
        from a2a_llm.hf_multimodal_videos import completed_video

        videos = completed_video(config, file("video"), given.video)
    return Preparation(images, videos, {})


def processors(config: PretrainedConfig, how: Preparation) -> dict[str, Processor]:
    """By modality."""
    layout = FAMILIES[config.model_type].layout
    if layout == "sounds":
        from a2a_llm.hf_multimodal_sounds import SoundProcessor

        return {"audio": SoundProcessor(how.audio, config.audio_config.max_source_positions)}
    if layout == "pictures":
        return {"image": pictures(config, how.image)}
    from a2a_llm.hf_multimodal_videos import VideoProcessor

    refuse_other_patches(config, "image_processor", how.image)
    refuse_other_patches(config, "video_processor", how.video)
    tower, whole = Tower.of(config.vision_config), FAMILIES[config.model_type].timestamps
    speed = getattr(config.vision_config, "tokens_per_second", None)
    videos = VideoProcessor(how.video, tower, "video" if whole else "frame", speed)
    return {"image": PatchProcessor(how.image, tower), "video": videos}


def refuse_other_patches(config: PretrainedConfig, option: str, how: Mapping[str, Any]) -> None:
    """A2AError where the tower takes patches of another size."""
    vision = config.vision_config
    for key, name in (("patch_size", "patch_size"), ("temporal_patch_size",) * 2, ("merge_size", "spatial_merge_size")):
        if how[key] != getattr(vision, name):
            raise A2AError(f"`{option}.{key}` = {how[key]}, and the model's `{name}` is {getattr(vision, name)}")


def pictures(config: PretrainedConfig, images: Mapping[str, Any]) -> PictureProcessor:
    """Pictures of one size; their tokens are counted on the meta device."""
    import numpy as np

    from a2a_llm.hf_multimodal_decoder import multimodal_model

    side = config.vision_config.image_size
    shape = StockImages(images).prepared(np.zeros((side, side, 3), np.uint8))["pixel_values"].shape[1:]
    with tracing():
        try:
            made = multimodal_model(config, bare=True).get_image_features(torch.zeros(1, *shape), return_dict=True)
        except (RuntimeError, TypeError, ValueError) as error:
            height, width = shape[1:]
            raise A2AError(f"the model reads no pictures of {height} x {width} pixels: {error}") from None
    return PictureProcessor(images, shape, len(made.pooler_output[0]))
