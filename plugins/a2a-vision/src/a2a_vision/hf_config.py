"""What `hf-vision` reads of a configuration of transformers: the part for images, and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from transformers import PretrainedConfig

from a2a_core import A2AError
from a2a_core.pretrained.configuration import read_config

RANDOM: Final = frozenset({"videomae", "vit_mae"})
"""Models for pre-training by masking, which mask in evaluation too."""


def read_tower(path: Path | None, table: Mapping[str, Any], typed: bool) -> PretrainedConfig:
    """As `read_config`; of a model of images and text (CLIP, SigLIP) the part for images."""
    config = read_config(path, table, typed)
    tower = getattr(config, "vision_config", config)
    if not isinstance(tower, PretrainedConfig):
        raise A2AError(f"a `{config.model_type}` model has no vision model that transformers could build alone")
    if tower.model_type in RANDOM:
        raise A2AError(f"a `{tower.model_type}` model hides and shuffles patches at random: its tokens have no fixed places")
    return tower


def image_size(config: PretrainedConfig) -> tuple[int, int]:
    """Height and width that the model was made for."""
    return pair(config, "image_size")


def pair(config: PretrainedConfig, name: str) -> tuple[int, int]:
    """A field that is one number or two; A2AError when the configuration has none."""
    value = getattr(config, name, None)
    if isinstance(value, int):
        return value, value
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise A2AError(f"the configuration of a `{config.model_type}` model has no `{name}`: it cuts no picture into patches")
    return int(value[0]), int(value[1])
