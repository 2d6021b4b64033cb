"""The module of the `hf-vision` encoder, and what can be learned of it on the meta device."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from a2a_core import A2AError, Tokens
from a2a_vision.hf_config import configuration, gist, image_size, pair
from a2a_vision.resampling import Size

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        self.options = call_options(self.model, size, layer)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in traced.unused)

    def forward(self, pixel_values: Tensor) -> Tokens:
        """(N, channels, H, W) -> (N, tokens, width)."""
        values = hidden_states(self.model, pixel_values, self.options)[:, self.start : self.stop]
        return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))

    def reset_buffers(self) -> None:
        """Refill what no file holds (position ids, rotary frequencies): transformers' own way, without the weights."""
        model: Any = self.model
        for tensor in model.state_dict(keep_vars=True).values():
            tensor._is_hf_initialized = True
        for module in model.modules():
            module._is_hf_initialized = False
        model.initialize_weights()


def vision_model(config: Mapping[str, Any], layer: int | None) -> PreTrainedModel:
    """`AutoModel` up to a layer; random weights."""
    auto: Any = AutoModel
    try:
        return cast("PreTrainedModel", auto.from_config(shortened(config, layer), dtype=torch.float32))
    except ValueError as error:
        raise A2AError(f"transformers has no such vision model: {gist(error)}") from None


def shortened(config: Mapping[str, Any], layer: int | None) -> PretrainedConfig:
    """The configuration without the layers behind `layer`."""
    found = configuration(config)
    if layer is None:
        return found
    layers = getattr(found, "num_hidden_layers", None)
    if not isinstance(layers, int):
        raise A2AError(f"`layer` cannot be counted in a `{found.model_type}` model, which has stages: leave it out")
    if not 1 <= abs(layer) <= layers:
        raise A2AError(f"`layer` = {layer}, but the model has {layers} layers: 1 to {layers}, or -{layers} to -1")
    kept = layer if layer > 0 else layers + 1 + layer
    if kept < layers:
        found.num_hidden_layers = kept
        found.tie_last_hidden_states = False  # some models' last hidden state is their output; this one is in their middle
    return found


def call_options(model: PreTrainedModel, size: Size, layer: int | None) -> dict[str, bool]:
    """What the model is called with besides pixels: positions are interpolated where it was made for another size."""
    options = {"output_hidden_states": True} if layer is not None else {}
    accepted = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
    return options | {"interpolate_pos_encoding": True} if accepted and size != image_size(model.config) else options


def hidden_states(model: PreTrainedModel, pixel_values: Tensor, options: Mapping[str, bool]) -> Tensor:
    """Hidden states (N, T, C) of the last layer, or the model's output; A2AError where layers cannot be counted."""
    output = model(pixel_values, **options)
    if "output_hidden_states" not in options:
        return cast("Tensor", output.last_hidden_state)
    if len(output.hidden_states) != model.config.num_hidden_layers + 1:
        raise A2AError(f"`layer` cannot be counted in a `{model.config.model_type}` model, which has stages: leave it out")
    return cast("Tensor", output.hidden_states[-1])


def trace(config: Mapping[str, Any], size: Size, layer: int | None, select: Select) -> Trace:
    """Run two images through the model on the meta device; A2AError for one that reads no images or has no such token."""
    return _trace(json.dumps(config, sort_keys=True), size, layer, select)


@lru_cache(maxsize=8)
def _trace(config: str, size: Size, layer: int | None, select: Select) -> Trace:
    with torch.device("meta"), torch.inference_mode(False), torch.enable_grad():
        model = vision_model(json.loads(config), layer).train(False)
        kind = model.config.model_type
        if "pixel_values" not in inspect.signature(model.forward).parameters:
            raise A2AError(f"a `{kind}` model reads no images")
        try:
            images = torch.empty(2, getattr(model.config, "num_channels", 3), *size)
            hidden = hidden_states(model, images, call_options(model, size, layer))
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise A2AError(f"`hf-vision` cannot run a `{kind}` model on {size[0]} x {size[1]} pixels: {gist(error)}") from None
        if hidden.dim() != 3:
            raise A2AError(f"a `{kind}` model makes a map of shape {tuple(hidden.shape[1:])} of an image, not tokens")
        if hidden.shape[0] != len(images):
            raise A2AError(f"a `{kind}` model lays the images of a batch side by side, and would mix their tokens")
        start, stop = span(model.config, size, hidden.shape[1], select)
        torch.autograd.backward(hidden[:, start:stop].sum())
    unused = frozenset(name for name, parameter in model.named_parameters() if parameter.grad is None)
    return Trace(hidden.shape[-1], start, stop, unused)


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


def load_pretrained(module: nn.Module, path: Path) -> None:
    """Copy a directory's weights into what `build` made; A2AError when they cannot be read or one is missing.

    Files may hold more (a text model, later layers, a classifier), and may lack what is never used (a pooler).
    """
    model: Any = module.model
    try:
        with quiet():
            found, report = type(model).from_pretrained(
                path,
                config=model.config,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise A2AError(f"the weights in {path} cannot be read: {gist(error)}") from None
    used = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    missing = sorted(used & set(report["missing_keys"]))
    if missing:
        more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
        raise A2AError(f"{path} lacks {len(missing)} of the model's weights: {', '.join(missing[:20])}{more}")
    model.load_state_dict(found.state_dict())


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
