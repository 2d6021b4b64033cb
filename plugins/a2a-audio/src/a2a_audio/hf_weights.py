"""Pretrained weights into what `build` made, with every key accounted for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging

from a2a_core import A2AError

SHOWN = 20
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


def load_pretrained(module: nn.Module, path: Path) -> None:
    """Copy a directory's weights.

    A2AError when they cannot be read, lack a tensor of the encoder, or have one for it that it does not know. Decoders,
    heads, layers that were not built and SpecAugment's mask vector may be in the files besides.
    """
    model: Any = module.model
    prefix = ENCODER.get(model.config.model_type)
    try:
        with quiet():
            found, report = type(model).from_pretrained(
                path,
                config=model.config,
                dtype=torch.float32,
                key_mapping={prefix: ""} if prefix else None,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise A2AError(f"the weights in {path} cannot be read: {str(error).strip().splitlines()[0]}") from None
    used = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    own = set(model.state_dict())
    refuse(path, "lacks", (set(report["missing_keys"]) & own) - (own - used))
    refuse(path, "has, unknown to the encoder,", surplus(model, report["unexpected_keys"]))
    model.load_state_dict({name: tensor for name, tensor in found.state_dict().items() if name in own})


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


def refuse(path: Path, what: str, names: set[str]) -> None:
    """A2AError that lists some tensors, if there are any."""
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise A2AError(f"{path} {what} {len(names)} tensors: {', '.join(sorted(names)[:SHOWN])}{more}")


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar and no table of surplus weights on the terminal."""
    reports: Any = logging
    verbosity, bars = reports.get_verbosity(), reports.is_progress_bar_enabled()
    reports.set_verbosity_error()
    reports.disable_progress_bar()
    try:
        yield
    finally:
        reports.set_verbosity(verbosity)
        if bars:
            reports.enable_progress_bar()
