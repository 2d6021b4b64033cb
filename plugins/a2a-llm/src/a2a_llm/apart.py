"""Whether the texts of a batch see one another: by what a model makes of some at its first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from a2a_core import RunFailed
from a2a_llm.documents import Documents, disable
from a2a_llm.unembedding import Unembedding

PROBES: Final = ((5, 3), (4, 4))
"""Lengths of texts: different ones, and equal ones, which some layouts treat alike."""

States = Callable[[Tensor, Tensor, Documents], Tensor]
"""Embeddings (T, C), positions (T,), the texts' lengths -> the last hidden states (T, C)."""


@disable
@torch.no_grad()
def refuse_leaks(model: Any, states: States, device: torch.device) -> None:
    """RunFailed where texts in a batch, or logits by chunks, are not what the model itself makes of each text alone.

    A model may ignore what it is given (positions, where a text ends), and all would run, leaking from text to text; or do
    to its logits what is not known here; without an output layer there are none. The modes of its modules stay what they were.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    table, bare = model.get_input_embeddings(), model.get_output_embeddings() is None
    unembed: Any = torch.nn.Identity() if bare else Unembedding(model)
    halved = torch.is_autocast_enabled(device.type) or table.weight.dtype != torch.float32
    for lengths in PROBES:
        ids = torch.arange(sum(lengths), device=device) % model.config.get_text_config().vocab_size
        each = [table(part)[None] for part in ids.split(lengths)]
        positions = torch.cat([torch.arange(length, device=device) for length in lengths])
        alone = torch.cat([model.base_model(inputs_embeds=part, use_cache=False).last_hidden_state[0] for part in each])
        wanted = alone if bare else torch.cat([model(inputs_embeds=part, use_cache=False).logits[0] for part in each])
        kind = f"`{model.config.model_type}` model"
        off = difference(unembed(alone), wanted)
        if off > (5e-2 if halved else 1e-3):
            raise RunFailed(f"this {kind} makes its logits otherwise than by its output layer (off by {off:.1g})")
        off = difference(unembed(states(table(ids), positions, Documents(lengths))), wanted)
        if off > (5e-2 if halved else 1e-3):
            text = f"texts of one batch come out otherwise than each alone (off by {off:.1g}) in this {kind}"
            raise RunFailed(text, hint='try the other `layout`, "padded" or "documents"')
    for module, mode in training.items():
        module.training = mode


def difference(got: Tensor, wanted: Tensor) -> float:
    """The largest, as a share of the largest value."""
    return float((got.float() - wanted.float()).abs().max() / wanted.float().abs().max().clamp_min(1e-6))
