"""Whether texts that lie one behind the other see one another: by what a model makes of them at its first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from a2a_core import RunFailed
from a2a_llm.unembedding import Unembedding

PROBE: Final = (5, 3)
"""Lengths of the texts."""

States = Callable[[Tensor, Tensor, Sequence[int]], Tensor]
"""Embeddings (T, C), positions (T,), the texts' lengths -> the last hidden states (T, C)."""


@torch.no_grad()
def refuse_leaks(model: Any, states: States, device: torch.device) -> None:
    """RunFailed where texts one behind the other, or logits by chunks, are not what the model itself makes of each text.

    A model may ignore what it is given (positions, where a text ends), and all would run, leaking from text to text.
    """
    training = {module: module.training for module in model.modules()}
    model.eval()
    table, unembed = model.get_input_embeddings(), Unembedding(model)
    ids = torch.arange(sum(PROBE), device=device) % model.config.get_text_config().vocab_size
    positions = torch.cat([torch.arange(length, device=device) for length in PROBE])
    got = unembed(states(table(ids), positions, PROBE)).float()
    wanted = torch.cat([model(inputs_embeds=table(each)[None], use_cache=False).logits[0] for each in ids.split(PROBE)])
    for module, mode in training.items():
        module.training = mode
    tolerance = 1e-3 if got.dtype == table.weight.dtype and not torch.is_autocast_enabled(device.type) else 5e-2
    apart = float((got - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6))
    if apart > tolerance:
        raise RunFailed(
            f"texts one behind the other come out otherwise than each alone (by {apart:.1g}) in this "
            f'`{model.config.model_type}` model; set `fusion.layout = "padded"`'
        )
