"""The module of the `hf-video` encoder, and what can be learned of it on the meta device."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoModel, PretrainedConfig

from a2a_core import A2AError, Tokens
from a2a_core.pretrained.configuration import configuration, gist
from a2a_core.pretrained.layers import hidden_states, shorten
from a2a_core.pretrained.tracing import freeze, tracing, unreached
from a2a_core.pretrained.weights import load_pretrained, refill_buffers
from a2a_video.hf_families import FAMILIES, channels, frame_size, num_frames

Select = Literal["tubelet", "cls", "all"]
CLIP_TOWER = {r"^video_model\.vision_model\.": ""}
"""Where VideoPrism's video-text checkpoints have the model."""


class Trace(NamedTuple):
    """What a forward and backward pass on the meta device shows of a model."""

    width: int
    start: int
    stop: int
    """Tokens from `start` up to `stop` are kept."""
    unused: frozenset[str]
    """Parameters that never get a gradient."""

    @property
    def length(self) -> int:
        """Tokens of a clip."""
        return self.stop - self.start


class HfVideoModel(nn.Module):
    """A video model of transformers in float32 with its own initialisation; `forward` gives one layer's hidden states."""

    def __init__(self, config: Mapping[str, Any], layer: int | None, select: Select) -> None:
        super().__init__()
        traced = trace(config, layer, select)
        self.width, self.start, self.stop, self.unused = traced
        self.layer = layer
        self.model = video_model(configuration(config), layer)
        freeze(self.model, self.unused)

    def forward(self, pixel_values: Tensor) -> Tokens:
        """(N, frames, channels, H, W) -> (N, tokens, width)."""
        values = hidden_states(self.model, self.layer, **inputs(self.model, pixel_values))[:, self.start : self.stop]
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def reset_buffers(self) -> None:
        """Refill what no file holds."""
        refill_buffers(self.model)
        if self.model.config.model_type == "videomae":
            positions = self.model.embeddings.position_embeddings
            positions.copy_(sinusoids(*positions.shape[1:]))


def video_model(config: PretrainedConfig, layer: int | None) -> Any:
    """`AutoModel` up to a layer, without pooler and predictor; random weights."""
    shorten(config, layer)
    kind, frames = config.model_type, num_frames(config)
    if kind == "vjepa2":
        config.pred_num_hidden_layers = 0
    if kind == "videomae":  # transformers computes the positions of a whole clip in a loop of seconds: have it do one tubelet's
        config.num_frames = config.tubelet_size
    model_class: Any = MODEL_MAPPING[type(config)]
    pooled = "add_pooling_layer" in inspect.signature(model_class).parameters
    auto: Any = AutoModel
    try:
        model = auto.from_config(config, dtype=torch.float32, **({"add_pooling_layer": False} if pooled else {}))
    except (RuntimeError, TypeError, ValueError) as error:
        raise A2AError(f"transformers cannot build this `{kind}` model: {gist(error)}") from None
    if kind == "vjepa2":
        del model.predictor
    if kind == "videomae":
        config.num_frames = model.config.num_frames = frames
        register_positions(model.embeddings, frames // config.tubelet_size)
    return model


def register_positions(embeddings: Any, tubelets: int) -> None:
    """VideoMAE's positions for so many tubelets, as a buffer: a plain tensor would move nowhere with the model."""
    _, places, width = embeddings.__dict__.pop("position_embeddings").shape
    embeddings.num_patches = places * tubelets
    table = sinusoids(places * tubelets, width).to(embeddings.patch_embeddings.projection.weight.device)
    embeddings.register_buffer("position_embeddings", table, persistent=False)


def sinusoids(positions: int, width: int) -> Tensor:
    """(1, positions, width) sines and cosines of wavelengths up to 10000 turns (arXiv 1706.03762, section 3.5)."""
    turns = 10000 ** (2 * (np.arange(width) // 2) / width)
    angles = np.arange(positions)[:, None] / turns
    table = np.where(np.arange(width) % 2, np.cos(angles), np.sin(angles))
    return torch.from_numpy(table.astype(np.float32))[None]


def inputs(model: Any, pixel_values: Tensor) -> dict[str, Any]:
    """What the model is called with."""
    skip = {"skip_predictor": True} if model.config.model_type == "vjepa2" else {}
    return {model.main_input_name: pixel_values, **skip}


def trace(config: Mapping[str, Any], layer: int | None, select: Select) -> Trace:
    """Run two clips through the model on the meta device; A2AError for one that cannot run, or has no class token."""
    return _trace(json.dumps(config, sort_keys=True), layer, select)


@lru_cache(maxsize=8)
def _trace(table: str, layer: int | None, select: Select) -> Trace:
    config = configuration(json.loads(table))
    kind, family = config.model_type, FAMILIES[config.model_type]
    if select == "cls" and not family.class_token:
        raise A2AError(f'a `{kind}` model has no class token: `select = "cls"` cannot be had of it')
    with tracing():
        model = video_model(config, layer).train(False)
        clips = torch.empty(2, num_frames(config), channels(config), *frame_size(config))
        try:
            hidden = hidden_states(model, layer, **inputs(model, clips))
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise A2AError(f"`hf-video` cannot run this `{kind}` model: {gist(error)}") from None
        if hidden.dim() != 3 or hidden.shape[0] != len(clips):
            raise A2AError(f"this `{kind}` model makes tokens of single frames, not of clips")
        tokens, extra = hidden.shape[1], int(family.class_token)
        start, stop = {"tubelet": (extra, tokens), "cls": (0, extra), "all": (0, tokens)}[select]
        return Trace(hidden.shape[-1], start, stop, unreached(model, hidden[:, start:stop]))


def load_video(module: Any, path: Path) -> None:
    """Copy a directory's weights into what `build` made; A2AError when they cannot be read, one is missing or misshapen."""
    mapping = {"key_mapping": CLIP_TOWER} if module.model.config.model_type == "videoprism_vision_model" else {}
    load_pretrained(module.model, path, unused=module.unused, **mapping)
