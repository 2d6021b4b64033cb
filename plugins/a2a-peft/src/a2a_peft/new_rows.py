"""Rows of a vocabulary that are trained alone: parameters beside a table, which answer in the place of its own rows.

The table keeps its class, its name and its old rows, which no optimizer ever sees: neither a momentum nor weight decay can
move them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_peft.embeddings import EmbeddingsAdapter

ROWS: Final = "new_rows"
"""The parameter (N, C) in a table; beside it `new_ids` (N,), in order."""


class Embedded:
    """A forward hook of input embeddings."""

    def __call__(self, table: Any, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The new rows where ids are new, on the scale of the table's own."""
        (ids,) = given
        places = torch.searchsorted(table.new_ids, ids).clamp_max(len(table.new_ids) - 1)
        rows = F.embedding(places, table.new_rows) * getattr(table, "embed_scale", 1.0)
        return torch.where((table.new_ids[places] == ids)[..., None], rows.to(output.dtype), output)


class Scored:
    """A forward hook of an output layer; `table` has the rows: it, or the input embeddings that it is tied to."""

    def __init__(self, table: nn.Module) -> None:
        self.table: Any = table

    def __call__(self, layer: Any, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The logits of new ids (..., V) in the place of what the old table has for them."""
        ids = self.table.new_ids
        bias = None if layer.bias is None else layer.bias[ids]
        return output.index_copy(-1, ids, F.linear(given[0], self.table.new_rows, bias).to(output.dtype))

    def parameters(self) -> Iterator[Tensor]:
        """What logits depend on beside the layer's own: `next-token` goes back through the layer by itself, and asks."""
        yield self.table.new_rows


def put_in(config: EmbeddingsAdapter, model: nn.Module) -> None:
    """See EmbeddingsAdapter.apply."""
    whole: Any = model
    text = whole.parts.fusion.processor()
    if text is None:
        raise A2AError(f"fusion `{whole.parts.fusion.name}` has no vocabulary that can get new tokens")
    table, layer, tied = tables(whole.fusion)
    if hasattr(table, ROWS):
        raise A2AError("two adapters `embeddings` change the vocabulary", hint="give one of them all `tokens`")
    if not any(hasattr(module, "peft_config") for module in whole.fusion.modules()):
        whole.fusion.requires_grad_(False)
    ids = sorted(text.tokenizer.convert_tokens_to_ids(list(config.tokens)))
    for each in (table,) if tied else (table, layer):
        each.requires_grad_(False)
        each.register_buffer("new_ids", torch.tensor(ids))
        each.register_parameter(ROWS, nn.Parameter(each.weight.detach()[ids].clone()))
    table.register_forward_hook(Embedded())
    layer.register_forward_hook(Scored(table if tied else layer))


def take_in(model: nn.Module) -> None:
    """The tables as plain ones, the new rows among the old."""
    whole: Any = model
    table, layer, _ = tables(whole.fusion)
    for each in (table, layer):
        if hasattr(each, ROWS):
            with torch.no_grad():
                each.weight[each.new_ids] = each.new_rows
            del each.new_rows, each.new_ids
        for key, hook in list(each._forward_hooks.items()):
            if isinstance(hook, Embedded | Scored):
                del each._forward_hooks[key]


def tables(fusion: nn.Module) -> tuple[Any, Any, bool]:
    """Input embeddings and output layer of the fusion's language model, and whether they are tied.

    On the meta device they share nothing yet, and transformers says by name what will be. A2AError for tables of a kind of
    which it is not known what they make of their rows.
    """
    for module in fusion.modules():
        asked: Any = module
        layer = asked.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
        if layer is not None:
            table = asked.get_input_embeddings()
            plain = type(table) is nn.Embedding or (isinstance(table, nn.Embedding) and hasattr(table, "embed_scale"))
            if not plain or type(layer) is not nn.Linear:
                other = type(layer).__name__ if plain else type(table).__name__
                raise A2AError(
                    f"the vocabulary lies in a `{other}`, which the adapter `embeddings` does not know",
                    hint="leave the output layer out of `lora`" if plain else "",
                )
            (name,) = (name for name, each in module.named_modules() if each is layer)
            return table, layer, f"{name}.weight" in asked.all_tied_weights_keys
    raise A2AError("the fusion has no language model with an output layer")
