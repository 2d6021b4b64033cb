"""What reads the media of a multimodal model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PretrainedConfig

from a2a_core import A2AError
from a2a_core.pretrained.configuration import read_preprocessor
from a2a_core.pretrained.tracing import tracing
from a2a_llm.hf_multimodal_families import FAMILIES
from a2a_llm.hf_multimodal_images import PatchProcessor, PictureProcessor, StockImages, Tower, completed

if TYPE_CHECKING:
    from a2a_core.structures import Processor


def prepared(
    config: PretrainedConfig, path: Path | None, images: Mapping[str, Any], sounds: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """How pictures and sounds are prepared, by what a recipe says of them over the directory's files.

    A2AError for what the model does not read.
    """
    family = FAMILIES[config.model_type]
    for option, given, modality in (("image_processor", images, "image"), ("feature_extractor", sounds, "audio")):
        if given and modality not in family.marks:
            raise A2AError(f"`{option}` is given, and a `{config.model_type}` model reads no {modality}")
    part = "feature_extractor" if family.layout == "sounds" else "image_processor"
    file = read_preprocessor(path, part) if path is not None else {}
    if family.layout == "sounds":
        from a2a_llm.hf_multimodal_sounds import completed as heard

        return {}, heard(config, file, sounds)
    return completed(config, file, images), {}


def processors(config: PretrainedConfig, images: Mapping[str, Any], sounds: Mapping[str, Any]) -> dict[str, Processor]:
    """By modality."""
    layout = FAMILIES[config.model_type].layout
    if layout == "sounds":
        from a2a_llm.hf_multimodal_sounds import SoundProcessor

        return {"audio": SoundProcessor(sounds, config.audio_config.max_source_positions)}
    return {"image": patches(config, images) if layout == "patches" else pictures(config, images)}


def patches(config: PretrainedConfig, images: Mapping[str, Any]) -> PatchProcessor:
    """Pictures as patches; A2AError where the tower takes others."""
    vision = config.vision_config
    for key, name in (("patch_size", "patch_size"), ("temporal_patch_size",) * 2, ("merge_size", "spatial_merge_size")):
        if images[key] != getattr(vision, name):
            raise A2AError(f"`image_processor.{key}` = {images[key]}, and the model's `{name}` is {getattr(vision, name)}")
    return PatchProcessor(images, Tower.of(vision))


def pictures(config: PretrainedConfig, images: Mapping[str, Any]) -> PictureProcessor:
    """Pictures of one size; their tokens are counted on the meta device."""
    import numpy as np

    from a2a_llm.hf_multimodal_model import multimodal_model

    side = config.vision_config.image_size
    shape = StockImages(images).prepared(np.zeros((side, side, 3), np.uint8))["pixel_values"].shape[1:]
    with tracing():
        try:
            made = multimodal_model(config).model.get_image_features(torch.zeros(1, *shape), return_dict=True)
        except (RuntimeError, TypeError, ValueError) as error:
            height, width = shape[1:]
            raise A2AError(f"the model reads no pictures of {height} x {width} pixels: {error}") from None
    return PictureProcessor(images, shape, len(made.pooler_output[0]))
