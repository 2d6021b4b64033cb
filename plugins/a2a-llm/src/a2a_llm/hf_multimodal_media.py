"""What reads the media of a multimodal model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers import PretrainedConfig

from a2a_core import A2AError
from a2a_core.pretrained.tracing import tracing
from a2a_llm.hf_multimodal_families import FAMILIES
from a2a_llm.hf_multimodal_images import PatchProcessor, PictureProcessor, StockImages, Tower

if TYPE_CHECKING:
    from a2a_core.structures import Processor


def processors(config: PretrainedConfig, images: Mapping[str, Any]) -> dict[str, Processor]:
    """By modality."""
    layout = FAMILIES[config.model_type].layout
    if layout == "patches":
        return {"image": patches(config, images)}
    return {"image": pictures(config, images)}


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
