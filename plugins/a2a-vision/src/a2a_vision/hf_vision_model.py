"""The module of the `hf-vision` encoder, and what can be learned of it on the meta device."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel

from a2a_core import A2AError, Tokens
from a2a_core.pretrained.configuration import configuration, gist
from a2a_core.pretrained.layers import hidden_states, shorten
from a2a_core.pretrained.tracing import freeze, tracing, unreached
from a2a_core.pretrained.weights import refill_buffers
from a2a_vision.hf_config import image_size, pair
from a2a_vision.resampling import Size

Select = Literal["patch", "cls", "all"]


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
        """Tokens of an image."""
        return self.stop - self.start


class HfVisionModel(nn.Module):
    """A vision model of transformers in float32 with its own initialisation; `forward` gives one layer's hidden states."""

    def __init__(self, config: Mapping[str, Any], size: Size, layer: int | None, select: Select) -> None:
        super().__init__()
        traced = trace(config, size, layer, select)
        self.width, self.start, self.stop = traced.width, traced.start, traced.stop
        self.model = vision_model(config, layer)
        self.layer, self.options = layer, call_options(self.model, size)
        self.unused = traced.unused
        freeze(self.model, self.unused)

    def forward(self, pixel_values: Tensor) -> Tokens:
        """(N, channels, H, W) -> (N, tokens, width)."""
        hidden = hidden_states(self.model, self.layer, pixel_values=pixel_values, **self.options)
        values = hidden[:, self.start : self.stop]
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def reset_buffers(self) -> None:
        """Refill what no file holds."""
        refill_buffers(self.model)


def vision_model(config: Mapping[str, Any], layer: int | None) -> PreTrainedModel:
    """`AutoModel` up to a layer; random weights."""
    auto: Any = AutoModel
    kept = configuration(config)
    shorten(kept, layer)
    try:
        return cast("PreTrainedModel", auto.from_config(kept, dtype=torch.float32))
    except ValueError as error:
        raise A2AError(f"transformers has no such vision model: {gist(error)}") from None


def call_options(model: PreTrainedModel, size: Size) -> dict[str, bool]:
    """What the model is called with besides pixels: positions are interpolated where it was made for another size."""
    accepted = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
    return {"interpolate_pos_encoding": True} if accepted and size != image_size(model.config) else {}


def trace(config: Mapping[str, Any], size: Size, layer: int | None, select: Select) -> Trace:
    """Run two images through the model on the meta device; A2AError for one that reads no images or has no such token."""
    return _trace(json.dumps(config, sort_keys=True), size, layer, select)


@lru_cache(maxsize=8)
def _trace(config: str, size: Size, layer: int | None, select: Select) -> Trace:
    with tracing():
        model = vision_model(json.loads(config), layer).train(False)
        kind = model.config.model_type
        if "pixel_values" not in inspect.signature(model.forward).parameters:
            raise A2AError(f"a `{kind}` model reads no images")
        try:
            images = torch.empty(2, getattr(model.config, "num_channels", 3), *size)
            hidden = hidden_states(model, layer, pixel_values=images, **call_options(model, size))
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise A2AError(f"`hf-vision` cannot run a `{kind}` model on {size[0]} x {size[1]} pixels: {gist(error)}") from None
        if hidden.dim() != 3:
            raise A2AError(f"a `{kind}` model makes a map of shape {tuple(hidden.shape[1:])} of an image, not tokens")
        if hidden.shape[0] != len(images):
            raise A2AError(f"a `{kind}` model lays the images of a batch side by side, and would mix their tokens")
        start, stop = span(model.config, size, hidden.shape[1], select)
        return Trace(hidden.shape[-1], start, stop, unreached(model, hidden[:, start:stop]))


def span(config: PretrainedConfig, size: Size, tokens: int, select: Select) -> tuple[int, int]:
    """The first token to keep and the one behind the last: patches stand behind the class token and registers."""
    if select == "all":
        return 0, tokens
    patch = pair(config, "patch_size")
    extra = tokens - (size[0] // patch[0]) * (size[1] // patch[1])
    if extra < 0:
        raise A2AError(f'a `{config.model_type}` model merges its patches: its tokens can only be had with `select = "all"`')
    if select == "cls":
        if not extra:
            raise A2AError(f'a `{config.model_type}` model has no class token: `select = "cls"` cannot be had of it')
        return 0, 1
    return extra, tokens
