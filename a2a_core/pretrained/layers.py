"""Hidden states by layer, of models whose layers behind it need not be built."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor
from transformers import PretrainedConfig

from a2a_core.errors import A2AError

STAGES = "`layer` cannot be counted in a `{}` model, which has stages: leave it out"


def shorten(config: PretrainedConfig, layer: int | None) -> None:
    """Leave the layers behind `layer` out of a configuration: 1 is the first, -1 the last; A2AError when it has no such."""
    if layer is None:
        return
    layers = getattr(config, "num_hidden_layers", None)
    if not isinstance(layers, int):
        raise A2AError(STAGES.format(config.model_type))
    if not 1 <= abs(layer) <= layers:
        raise A2AError(f"`layer` = {layer}, but the model has {layers} layers: 1 to {layers}, or -{layers} to -1")
    kept = layer if layer > 0 else layers + 1 + layer
    if kept < layers:
        config.num_hidden_layers = kept
        config.tie_last_hidden_states = False  # some models' last hidden state is their output; this one is in their middle


def hidden_states(model: Any, layer: int | None, **inputs: Any) -> Tensor:
    """Hidden states (N, T, C) of a model shortened to `layer`, or its output; A2AError where layers cannot be counted."""
    if layer is None:
        return cast("Tensor", model(**inputs).last_hidden_state)
    states = model(**inputs, output_hidden_states=True).hidden_states
    if len(states) != model.config.num_hidden_layers + 1:
        raise A2AError(STAGES.format(model.config.model_type))
    return cast("Tensor", states[-1])
