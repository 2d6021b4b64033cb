"""Pretrained weights of sound models, with every key accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn

from a2a_core import A2AError
from a2a_core.pretrained.weights import load_pretrained, refuse

LAYER = re.compile(r"\blayers\.(\d+)\.")
ENCODER = {"whisper": r"^(model\.)?encoder\."}
"""Prefix of the encoder's keys in files, where the module that is loaded is the encoder alone."""


def kept_layers(layers: int, layer: int | None) -> int:
    """Layers to build for the hidden states `layer`; A2AError when there are fewer."""
    if layer is None:
        return layers
    if not -layers - 1 <= layer <= layers:
        raise A2AError(f"`layer` = {layer}, but the model has {layers} layers: 0 to {layers}, or -{layers + 1} to -1")
    return layer if layer >= 0 else layers + 1 + layer


def load_encoder(module: nn.Module, path: Path) -> None:
    """Copy a directory's weights; A2AError as of `load_pretrained`, and when they have one for the encoder that it lacks.

    Decoders, heads and layers that were not built may be in the files besides; SpecAugment's mask vector need not be.
    """
    model: Any = module.model
    prefix = ENCODER.get(model.config.model_type)
    mapping = {"key_mapping": {prefix: ""}} if prefix else {}
    left = load_pretrained(model, path, unused={"masked_spec_embed"}, **mapping)
    refuse(path, "has {} tensors that are unknown to the encoder", surplus(model, left))


def surplus(model: Any, unexpected: Iterable[str]) -> set[str]:
    """Keys in the files that lie inside the encoder, but that it has no place for."""
    modules = {name for name, _ in model.named_children()}
    layers = len(model.get_submodule("encoder").layers if hasattr(model, "encoder") else model.layers)
    found = set()
    for key in unexpected:
        inside = key.removeprefix(f"{model.base_model_prefix}.")
        layer = LAYER.search(inside)
        if inside.split(".")[0] in modules and not (layer and int(layer[1]) >= layers):
            found.add(key)
    return found
