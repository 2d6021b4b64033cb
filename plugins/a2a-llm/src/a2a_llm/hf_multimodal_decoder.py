"""A multimodal model of transformers, driven part by part: its language model reads texts that lie one behind the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoModelForMultimodalLM, PretrainedConfig

from a2a_core import A2AError
from a2a_core.pretrained.configuration import gist
from a2a_core.pretrained.tracing import freeze, tracing, unreached
from a2a_core.pretrained.weights import load_pretrained, refill_buffers
from a2a_llm.apart import refuse_leaks
from a2a_llm.causal_lm_model import name_of, told
from a2a_llm.chunks import unreal
from a2a_llm.documents import NAME, Documents, behind, side_by_side
from a2a_llm.hf_multimodal_attention import NAME as PIECES
from a2a_llm.hf_multimodal_families import FAMILIES
from a2a_llm.hf_multimodal_positions import beginnings
from a2a_llm.hf_multimodal_towers import TOWERS, Features
from a2a_llm.unembedding import Unembedding

WHOLE: Any = AutoModelForMultimodalLM  # carries no types
BARE: Any = AutoModel
Dummies = Mapping[str, Mapping[str, Any]]


class Deep(NamedTuple):
    """What is added to hidden states behind the first layers."""

    places: Tensor
    """(P,) in the texts, laid side by side."""
    layers: Sequence[Tensor]
    """(P, C) each."""


class Traced(NamedTuple):
    """What a pass on the meta device shows."""

    apart: bool
    """Each layer of the language model is told where texts end."""
    unused: frozenset[str]
    """Parameters that nothing reaches."""


class DrivenModel(nn.Module):
    """A multimodal model of transformers in float32 with its own initialisation.

    `model` is it, with its output layer or `bare`; `parts` names modules in it, for groups, freezing and adapters. `dummies`
    are batches of one dummy item, by modality; `layer` are the hidden states to use, -1 the last, behind the final norm.
    """

    def __init__(
        self, config: PretrainedConfig, dummies: Dummies, layout: str = "auto", bare: bool = False, layer: int = -1
    ) -> None:
        super().__init__()
        self.family, self.layer = FAMILIES[config.model_type], layer
        self.model: Any = multimodal_model(config, bare)
        named = self.family.parts.items()
        self.parts = {alias: path if bare else f"model.{path}" for alias, path in named if not bare or path != "lm_head"}
        self.width = int(config.get_text_config().hidden_size)
        traced = trace(config, dummies, bare, layer)
        if layout == "documents" and not traced.apart:
            raise A2AError(
                f"the attention of a `{config.model_type}` model cannot be told where a text ends: leave `layout` out"
            )
        self.unused, self.documents, self.checked = traced.unused, traced.apart and layout != "padded", False
        freeze(self.model, self.unused)
        if self.documents:
            self.decoder.set_attn_implementation(NAME)

    @property
    def decoder(self) -> Any:
        """The language model without its output layer."""
        return self.model.base_model.language_model

    def refuse_leaks(self, embedded: Tensor) -> None:
        """See a2a_llm.apart; asked once, of real values."""
        if not self.checked and not unreal(embedded):
            self.checked = True
            refuse_leaks(self.model, self.states, embedded.device)

    def states(self, embedded: Tensor, positions: Tensor, documents: Documents, deep: Deep | None = None) -> Tensor:
        """The last hidden states (T, C) of texts that lie one behind the other; `positions` (T,) or (3, T)."""
        return self.states_of(-1, embedded, positions, documents, deep)

    def states_of(
        self, layer: int, embedded: Tensor, positions: Tensor, documents: Documents, deep: Deep | None = None
    ) -> Tensor:
        """As `states`, of some layer."""
        if self.documents:
            nothing = embedded.new_ones(1, 1, 1, 1, dtype=torch.bool)  # a ready mask, so that none of T x T is made
            one = {"inputs_embeds": embedded[None], "position_ids": positions[..., None, :], "attention_mask": nothing}
            return hidden_states(self.decoder, layer, **one, **added(deep), documents=documents, use_cache=False)[0]
        lengths = documents.lengths
        longest, starts = max(lengths), beginnings(lengths)
        padded, mask = side_by_side(embedded, documents)
        given = {"inputs_embeds": padded, "attention_mask": mask}
        if positions.dim() == 2:
            given["position_ids"] = pad_sequence(list(positions.T.split(lengths)), True).permute(2, 0, 1)
        if deep is not None:
            shifts = [torch.full((length,), row * longest - starts[row]) for row, length in enumerate(lengths)]
            shift = torch.cat(shifts).to(padded.device, non_blocking=True)
            deep = deep._replace(places=deep.places + shift[deep.places])
        return behind(hidden_states(self.decoder, layer, **given, **added(deep), use_cache=False), documents)

    def load(self, path: Path) -> None:
        """Copy a directory's weights; A2AError when one is missing there."""
        config = deepcopy(self.model.config)
        for part in (config, config.get_text_config(), *([config.vision_config] if self.family.layout == "patches" else [])):
            part._attn_implementation = "sdpa"  # what is loaded is of no attention of ours
        load_pretrained(self.model, path, config=config, unused=self.unused)

    def reset_buffers(self) -> None:
        """Refill what no file holds."""
        refill_buffers(self.model)


def hidden_states(decoder: Any, layer: int, **given: Any) -> Tensor:
    """Of one layer; 0 are the embeddings, the last is the model's output, after its final norm. A2AError where it has none."""
    if layer == -1:
        output: Tensor = decoder(**given).last_hidden_state
        return output
    states: tuple[Tensor, ...] = decoder(**given, output_hidden_states=True).hidden_states
    if not -len(states) <= layer < len(states):
        raise A2AError(
            f"`layer` = {layer}, but the model has {len(states)} hidden states ({-len(states)} to {len(states) - 1})"
        )
    return states[layer]


def deep(features: Mapping[str, Features], places: Mapping[str, Tensor]) -> Deep | None:
    """All modalities', where the model has such."""
    layers = list(zip(*(each.deep for each in features.values()), strict=True))
    cut = [len(each) for each in places.values()]
    every = [torch.cat([each[:length] for each, length in zip(layer, cut, strict=True)]) for layer in layers]
    return Deep(torch.cat(list(places.values())), every) if every else None


def added(deep: Deep | None) -> dict[str, Any]:
    """As the language model takes it."""
    return {} if deep is None else {"visual_pos_masks": deep.places, "deepstack_visual_embeds": deep.layers}


def add(hidden: Tensor, places: Tensor, values: Tensor) -> Tensor:
    """`values` (P, C) added to `hidden` (B, T, C) at places, or where a mask (B, T) says; a mask must be counted first."""
    if places.dtype == torch.bool:
        places = places.flatten().nonzero()[:, 0]
    return hidden.flatten(0, 1).index_add(0, places, values.to(hidden.dtype)).view_as(hidden)


def multimodal_model(config: PretrainedConfig, bare: bool = False) -> Any:
    """The model with random weights, with its output layer or without, set up to be driven part by part."""
    model = (BARE if bare else WHOLE).from_config(deepcopy(config), dtype=torch.float32)  # else it would be the model's own
    inner = model.base_model
    if FAMILIES[config.model_type].layout == "patches":
        inner.visual.config._attn_implementation = PIECES
    if hasattr(inner.language_model, "_deepstack_process"):
        inner.language_model._deepstack_process = add
    return model


def trace(config: PretrainedConfig, dummies: Dummies, bare: bool, layer: int) -> Traced:
    """On the meta device; A2AError for a model that does not run as its family does."""
    try:
        with tracing():
            model = multimodal_model(config, bare).eval()
            decoder = model.base_model.language_model
            features = TOWERS[FAMILIES[config.model_type].layout](model.base_model, moved(dummies))
            places = {key: torch.zeros(len(each.values), dtype=torch.long) for key, each in features.items()}
            embedded = torch.cat([each.values for each in features.values()])[None]
            hidden = hidden_states(decoder, layer, inputs_embeds=embedded, **added(deep(features, places)))
            output = hidden if bare else Unembedding(model)(hidden)
            unused = unreached(model, output) - {name_of(model, model.get_input_embeddings().weight)}
            return Traced(told(decoder), unused)
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise A2AError(f"`hf-multimodal` cannot run this `{config.model_type}` model: {gist(error)}") from None


def moved(value: Any) -> Any:
    """Tensors to the meta device."""
    if isinstance(value, Tensor):
        return value.to("meta")
    return {key: moved(each) for key, each in value.items()} if isinstance(value, Mapping) else value
