"""The module of the `hf-text` encoder, and what can be learned of it on the meta device."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoModel, PretrainedConfig
from transformers.utils import logging

from a2a_core import A2AError, Tokens

AUTO_MODEL: Any = AutoModel  # these two carry no types
LOGGING: Any = logging


class Trace(NamedTuple):
    """What a forward and backward pass on the meta device shows of a model."""

    width: int
    vocabulary: int
    positions: int | None
    """Tokens that it has positions for; None: any number."""
    unused: frozenset[str]
    """Parameters that never get a gradient."""


class HfTextModel(nn.Module):
    """A text model of transformers in float32 with its own initialisation; `forward` gives one layer's hidden states."""

    def __init__(self, config: PretrainedConfig, layer: int) -> None:
        super().__init__()
        traced = trace(config, layer)
        self.width, self.layer = traced.width, layer
        self.model: Any = text_model(config)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name not in traced.unused)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tokens:
        """(N, T) ids and bool mask -> (N, T, width), zero where there is no token."""
        hidden = hidden_states(self.model, input_ids, attention_mask, self.layer)
        return Tokens(hidden * attention_mask[..., None].to(hidden.dtype), attention_mask)

    def reset_buffers(self) -> None:
        """Refill what no file holds, such as position ids and rotary frequencies: transformers' own initialisation.

        It skips what is marked as initialised, which here is all that is saved.
        """
        for tensor in self.model.state_dict(keep_vars=True).values():
            tensor._is_hf_initialized = True
        for module in self.model.modules():
            module._is_hf_initialized = False
        self.model.initialize_weights()


def text_model(config: PretrainedConfig) -> Any:
    """`AutoModel`, without a pooler, of an encoder-decoder the encoder; random weights."""
    return encoder_of(AUTO_MODEL.from_config(config, dtype=torch.float32, **without_pooler(config)))


def without_pooler(config: PretrainedConfig) -> dict[str, bool]:
    """The keyword that leaves out a pooler, where the model class has it."""
    if type(config) not in MODEL_MAPPING:
        raise A2AError(f"transformers has no AutoModel for a `{config.model_type}` text model")
    model_class: Any = MODEL_MAPPING[type(config)]
    accepted = inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in accepted else {}


def encoder_of(model: Any) -> Any:
    """The part that reads text."""
    return model.get_encoder() if hasattr(model, "encoder") and hasattr(model, "decoder") else model


def hidden_states(model: Any, input_ids: Tensor, attention_mask: Tensor, layer: int) -> Tensor:
    """Hidden states (N, T, C) of one layer; the last is the model's output, after its final norm."""
    if layer == -1:
        output: Tensor = model(**inputs(model, input_ids, attention_mask)).last_hidden_state
        return output
    states: tuple[Tensor, ...] = model(**inputs(model, input_ids, attention_mask), output_hidden_states=True).hidden_states
    if not -len(states) <= layer < len(states):
        raise A2AError(
            f"`layer` = {layer}, but the model has {len(states)} hidden states ({-len(states)} to {len(states) - 1})"
        )
    return states[layer]


def inputs(model: Any, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Any]:
    """What the model is called with.

    transformers looks into masks and ids, and without a cache into positions, which on the meta device have no values: there
    it gets no mask, its default cache, and embeddings instead of ids from models that take them. The shapes are the same.
    """
    accepted = inspect.signature(model.forward).parameters
    if not input_ids.is_meta:
        cache = {"use_cache": False} if "use_cache" in accepted else {}
        return {"input_ids": input_ids, "attention_mask": attention_mask.long(), **cache}
    if "inputs_embeds" in accepted:
        return {"inputs_embeds": model.get_input_embeddings()(input_ids)}
    return {"input_ids": input_ids}


def trace(config: PretrainedConfig, layer: int) -> Trace:
    """Run two tokens through the model on the meta device; A2AError for a model that cannot be built or run there."""
    try:
        with torch.device("meta"), torch.inference_mode(False), torch.enable_grad():
            model = text_model(copy.deepcopy(config)).eval()
            ids = torch.zeros(1, 2, dtype=torch.int64)
            hidden = hidden_states(model, ids, torch.ones_like(ids, dtype=torch.bool), layer)
            torch.autograd.backward(hidden.sum())
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise A2AError(f"`hf-text` cannot run this `{config.model_type}` model: {error}") from None
    unused = frozenset(name for name, parameter in model.named_parameters() if parameter.grad is None)
    return Trace(hidden.shape[-1], model.get_input_embeddings().num_embeddings, num_positions(model), unused)


def num_positions(model: Any) -> int | None:
    """Tokens that the model has positions for: RoBERTa and its kin start counting after their padding id."""
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None or positions <= 0:
        return None
    shifted = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
        and "position" in name
        and module.padding_idx is not None
        and module.num_embeddings == positions
    ]
    return int(positions - max(shifted, default=0))


def load_pretrained(module: Any, path: Path, config: PretrainedConfig) -> None:
    """Copy a directory's weights into what `build` made; A2AError when they cannot be read or one is missing."""
    try:
        with quiet():
            found, report = AUTO_MODEL.from_pretrained(
                path,
                config=config,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **without_pooler(config),
            )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise A2AError(f"the weights in {path} cannot be read: {error}") from None
    weights = encoder_of(found).state_dict(keep_vars=True)
    everything, used = found.state_dict(keep_vars=True), {id(tensor) for tensor in weights.values()}
    missing = sorted(name for name in report["missing_keys"] if id(everything[name]) in used)
    if missing:
        raise A2AError(f"{path} lacks {len(missing)} of the model's weights: {', '.join(missing[:20])}")
    module.model.load_state_dict(weights)


@contextmanager
def quiet() -> Iterator[None]:
    """transformers without progress bars and without its table of weights that are left over (poolers, heads)."""
    verbosity, bars = LOGGING.get_verbosity(), LOGGING.is_progress_bar_enabled()
    LOGGING.set_verbosity_error()
    LOGGING.disable_progress_bar()
    try:
        yield
    finally:
        LOGGING.set_verbosity(verbosity)
        if bars:
            LOGGING.enable_progress_bar()
