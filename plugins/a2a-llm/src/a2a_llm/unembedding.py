"""Hidden states to logits as a causal language model makes them, for chunks of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


class Unembedding:
    """A model's output layer, and what some models do to logits behind it: scale them, or cap them.

    `linear` is the layer where logits are plainly its product with the hidden states: their gradient is then known without
    autograd. LoRA on it, new rows of an adapter, a scale or a cap make it None.
    """

    def __init__(self, model: Any) -> None:
        self.layer: Any = model.get_output_embeddings()
        config = model.config.get_text_config()
        caps = (getattr(config, name, None) for name in ("final_logit_softcapping", "logits_soft_cap"))
        self.cap: float | None = next((cap for cap in caps if cap is not None), None)
        self.factor = float(getattr(config, "lm_head_multiplier", 1.0) or 1.0)
        if type(getattr(model, "logit_scale", None)) in (int, float):  # Cohere
            self.factor *= float(model.logit_scale)
        self.factor /= float(getattr(config, "logits_scaling", 1.0) or 1.0)  # Granite

    @property
    def linear(self) -> nn.Linear | None:
        """The layer, where it is all."""
        plain = type(self.layer) is nn.Linear and not self.layer._forward_hooks and self.cap is None and self.factor == 1.0
        return self.layer if plain else None

    def __call__(self, hidden: Tensor) -> Tensor:
        """(S, C) -> (S, vocabulary)."""
        logits: Tensor = self.layer(hidden)
        if self.factor != 1.0:
            logits = logits * self.factor
        return torch.tanh(logits / self.cap) * self.cap if self.cap is not None else logits

    def parameters(self) -> Iterator[Tensor]:
        """The layer's, and those of its hooks: such a hook has `parameters`, too (a table that it shares may lie elsewhere)."""
        hooks = (hook.parameters() for hook in self.layer._forward_hooks.values() if hasattr(hook, "parameters"))
        yield from dict.fromkeys(chain(self.layer.parameters(), *hooks))
