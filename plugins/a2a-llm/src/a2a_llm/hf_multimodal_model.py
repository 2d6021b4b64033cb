"""The module of the fusion `hf-multimodal`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForMultimodalLM, PretrainedConfig

from a2a_core import A2AError, Fused, Tokens
from a2a_core.pretrained.configuration import gist
from a2a_core.pretrained.tracing import freeze, tracing, unreached
from a2a_core.pretrained.weights import load_pretrained, refill_buffers
from a2a_llm.apart import refuse_leaks
from a2a_llm.causal_lm_model import name_of, told, until
from a2a_llm.chunks import unreal
from a2a_llm.documents import NAME, Documents, behind, documents_of, last, side_by_side
from a2a_llm.hf_multimodal_attention import NAME as PIECES
from a2a_llm.hf_multimodal_families import FAMILIES
from a2a_llm.hf_multimodal_generation import stock_inputs
from a2a_llm.hf_multimodal_positions import Grid, beginnings, spatial
from a2a_llm.hf_multimodal_towers import TOWERS, Features
from a2a_llm.unembedding import Unembedding

AUTO_MODEL: Any = AutoModelForMultimodalLM  # carries no types
Dummies = Mapping[str, Mapping[str, Any]]


class Traced(NamedTuple):
    """What a pass on the meta device shows."""

    apart: bool
    """Each layer of the language model is told where texts end."""
    unused: frozenset[str]
    """Parameters that nothing reaches."""


class HfMultimodalModel(nn.Module):
    """A multimodal model of transformers in float32 with its own initialisation.

    `model` is it, whole; `parts` names modules in it, for groups, freezing and adapters. `dummies` are batches of one dummy
    item, by modality.
    """

    input_width = None

    def __init__(self, config: PretrainedConfig, dummies: Dummies, layout: str = "auto") -> None:
        super().__init__()
        self.family, self.modalities = FAMILIES[config.model_type], tuple(dummies)
        self.model: Any = multimodal_model(config)
        self.parts = {alias: f"model.{path}" for alias, path in self.family.parts.items()}
        self.vocabulary = int(config.get_text_config().vocab_size)
        self.width = int(config.get_text_config().hidden_size)
        traced = trace(config, dummies)
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
        return self.model.model.language_model

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """See HfMultimodal."""
        text = given(inputs)
        features = TOWERS[self.family.layout](self.model.model, {key: inputs[key]["tensors"] for key in self.modalities})
        embedded: Tensor = self.model.get_input_embeddings()(text["ids"])
        if not self.checked and not unreal(embedded):
            self.checked = True
            refuse_leaks(self.model, self.states, embedded.device)
        places = {key: text["media"][key] for key in self.modalities}
        for key, found in features.items():
            embedded = embedded.index_copy(0, places[key], found.values[: len(places[key])].to(embedded.dtype))
        documents = documents_of(text)
        hidden = self.states(embedded, self.positions(inputs), documents, deep(features, places))
        return Fused(inputs["size"], pooled=last(hidden, documents), unembed=Unembedding(self.model), hidden=hidden)

    def positions(self, inputs: Mapping[str, Any]) -> Tensor:
        """Of the texts one behind the other, each from 0: (T,), or (3, T) where media have them in three dimensions."""
        text = inputs["text"]
        line: Tensor = text["positions"]
        if not self.family.spatial:
            return line
        merge = self.model.config.vision_config.spatial_merge_size
        real = [key for key in self.modalities if len(inputs[key]["row"])]
        grids = {key: grids_of(inputs[key]["tensors"], merge, self.family.timestamps) for key in real}
        return spatial(line, text["lengths"], [(text["media"][key], grids[key]) for key in real])

    def states(self, embedded: Tensor, positions: Tensor, documents: Documents, deep: Deep | None = None) -> Tensor:
        """The last hidden states (T, C) of texts that lie one behind the other; `positions` (T,) or (3, T)."""
        if self.documents:
            nothing = embedded.new_ones(1, 1, 1, 1, dtype=torch.bool)  # a ready mask, so that none of T x T is made
            one = {"inputs_embeds": embedded[None], "position_ids": positions[..., None, :], "attention_mask": nothing}
            hidden: Tensor = self.decoder(**one, **added(deep), documents=documents, use_cache=False).last_hidden_state[0]
            return hidden
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
        found: Tensor = self.decoder(**given, **added(deep), use_cache=False).last_hidden_state
        return behind(found, documents)

    @torch.no_grad()
    def generate(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any], **options: Any) -> list[list[int]]:
        """The ids that follow each sample's text, one text after the other; `options` are those of transformers' `generate`."""
        ends = options.get("eos_token_id") or []
        stops = {ends} if isinstance(ends, int) else set(ends)
        found = []
        for row in stock_inputs(self.family, self.modalities, inputs, self.positions(inputs)):
            ids = self.model.generate(**row, **{"pad_token_id": 0, **options})
            found.append(until(ids[0, row["input_ids"].shape[1] :].tolist(), stops))
        return found

    def get_output_embeddings(self) -> nn.Module:
        """The language model's output layer, which adapters leave alone."""
        layer: nn.Module = self.model.get_output_embeddings()
        return layer

    def reset_buffers(self) -> None:
        """Refill what no file holds."""
        refill_buffers(self.model)


class Deep(NamedTuple):
    """What is added to hidden states behind the first layers."""

    places: Tensor
    """(P,) in the texts, laid side by side."""
    layers: Sequence[Tensor]
    """(P, C) each."""


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


def grids_of(tensors: Mapping[str, Any], merge: int, timestamps: bool) -> list[Grid]:
    """The grids of merged patches of a modality's items; where timestamps stand between frames, each frame's."""
    found = []
    steps = tensors.get("steps") or [1.0] * len(tensors["grids"])
    for (time, height, width), step in zip(tensors["grids"], steps, strict=True):
        sides = height // merge, width // merge
        found += [Grid(1, *sides)] * time if timestamps else [Grid(time, *sides, step)]
    return found


def multimodal_model(config: PretrainedConfig) -> Any:
    """`AutoModelForMultimodalLM` with random weights, set up to be driven part by part."""
    model = AUTO_MODEL.from_config(deepcopy(config), dtype=torch.float32)  # else it would be the model's own
    if FAMILIES[config.model_type].layout == "patches":
        model.model.visual.config._attn_implementation = PIECES
    if hasattr(model.model.language_model, "_deepstack_process"):
        model.model.language_model._deepstack_process = add
    return model


def given(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The batch's text; A2AError where the collator reads none."""
    if "text" not in inputs:
        raise A2AError("`hf-multimodal` reads text, and the collator gives none", hint='[collator] use = "chat", of a2a-chat')
    found: Mapping[str, Any] = inputs["text"]
    return found


def trace(config: PretrainedConfig, dummies: Dummies) -> Traced:
    """On the meta device; A2AError for a model that does not run as its family does."""
    try:
        with tracing():
            model = multimodal_model(config).eval()
            decoder = model.model.language_model
            features = TOWERS[FAMILIES[config.model_type].layout](model.model, moved(dummies))
            places = {key: torch.zeros(len(each.values), dtype=torch.long) for key, each in features.items()}
            embedded = torch.cat([each.values for each in features.values()])[None]
            hidden = decoder(inputs_embeds=embedded, **added(deep(features, places))).last_hidden_state
            unused = unreached(model, Unembedding(model)(hidden)) - {name_of(model, model.get_input_embeddings().weight)}
            return Traced(told(decoder), unused)
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise A2AError(f"`hf-multimodal` cannot run this `{config.model_type}` model: {gist(error)}") from None


def moved(value: Any) -> Any:
    """Tensors to the meta device."""
    if isinstance(value, Tensor):
        return value.to("meta")
    return {key: moved(each) for key, each in value.items()} if isinstance(value, Mapping) else value


def load_multimodal_model(module: HfMultimodalModel, path: Path) -> None:
    """Copy a directory's weights into what `build` made."""
    config = deepcopy(module.model.config)
    for part in (config, config.get_text_config(), *([config.vision_config] if module.family.layout == "patches" else [])):
        part._attn_implementation = "sdpa"  # what is loaded is of no attention of ours
    load_pretrained(module.model, path, config=config, via=AUTO_MODEL, unused=module.unused)
