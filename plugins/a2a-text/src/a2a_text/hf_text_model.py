"""The module of the `hf-text` encoder, and what can be learned of it on the meta device."""

from __future__ import annotations

import inspect
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import MODEL_MAPPING, AutoModel, PretrainedConfig

from a2a_core import A2AError, Tokens
from a2a_core.pretrained.tracing import freeze, tracing, unreached
from a2a_core.pretrained.weights import load_pretrained, refill_buffers

AUTO_MODEL: Any = AutoModel  # carries no types


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
        self.unused = traced.unused
        freeze(self.model, self.unused)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tokens:
        """(N, T) ids and bool mask -> (N, T, width), zero where there is no token."""
        hidden = hidden_states(self.model, input_ids, attention_mask, self.layer)
        return Tokens(hidden * attention_mask[..., None].to(hidden.dtype), attention_mask)

    def reset_buffers(self) -> None:
        """Refill what no file holds."""
        refill_buffers(self.model)


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
    return _trace(type(config), config.to_json_string(use_diff=False), layer)


@lru_cache(maxsize=8)
def _trace(kind: type[PretrainedConfig], values: str, layer: int) -> Trace:
    config = kind.from_dict(json.loads(values))
    try:
        with tracing():
            model = text_model(config).eval()
            ids = torch.zeros(1, 2, dtype=torch.int64)
            hidden = hidden_states(model, ids, torch.ones_like(ids, dtype=torch.bool), layer)
            unused = unreached(model, hidden)
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise A2AError(f"`hf-text` cannot run this `{config.model_type}` model: {error}") from None
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


def load_text(module: Any, path: Path, config: PretrainedConfig) -> None:
    """Copy a directory's weights into what `build` made; A2AError when they cannot be read or one is missing."""
    whole = without_pooler(config)
    load_pretrained(module.model, path, config=config, via=AUTO_MODEL, part=encoder_of, unused=module.unused, **whole)
