"""The module of the fusion `causal-lm`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoModelForCausalLM, PretrainedConfig

from a2a_core import A2AError, Fused, Tokens
from a2a_core.pretrained.configuration import read_config
from a2a_core.pretrained.tracing import freeze, tracing, unreached
from a2a_core.pretrained.weights import load_pretrained, quiet, refill_buffers
from a2a_llm.apart import refuse_leaks
from a2a_llm.chunks import unreal
from a2a_llm.documents import NAME, Documents, behind, documents_of, last, side_by_side
from a2a_llm.unembedding import Unembedding
from a2a_llm.vocabulary import shared

AUTO_MODEL: Any = AutoModelForCausalLM  # carries no types


class CausalLmModel(nn.Module):
    """A causal language model of transformers in float32 with its own initialisation.

    `model` is it, whole: `fusion.model.model.layers.*` and `fusion.model.lm_head` are the names that groups, adapters and
    patterns have for its parts.
    """

    def __init__(self, config: PretrainedConfig, layout: str = "auto") -> None:
        super().__init__()
        self.model: Any = language_model(config)
        table = self.model.get_input_embeddings()
        self.input_width, self.vocabulary = int(table.embedding_dim), int(config.get_text_config().vocab_size)
        self.width = int(config.get_text_config().hidden_size)
        apart, self.unused = trace(config)
        if layout == "documents" and not apart:
            raise A2AError(
                f"the attention of a `{config.model_type}` model cannot be told where a text ends: leave `layout` out"
            )
        self.documents = apart and layout != "padded"
        self.checked = False
        freeze(self.model, self.unused)
        if self.documents:
            self.model.set_attn_implementation(NAME)

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """See CausalLm."""
        text = given(inputs)
        embedded = self.embedded(encoded, text)
        if not self.checked and not unreal(embedded):
            self.checked = True
            refuse_leaks(self.model, self.states, embedded.device)
        documents = documents_of(text)
        hidden = self.states(embedded, text["positions"], documents)
        pooled = last(hidden, documents)
        return Fused(inputs["size"], pooled=pooled, unembed=Unembedding(self.model), hidden=hidden)

    def embedded(self, encoded: Mapping[str, Tokens], text: Mapping[str, Any]) -> Tensor:
        """What the model reads (T, C): its embeddings of ids, and in media's places the encoders' tokens."""
        embedded: Tensor = self.model.get_input_embeddings()(text["ids"])
        for key, tokens in encoded.items():
            places = text["media"].get(key)
            if places is not None:
                values = tokens.in_order()[: places.shape[0]]
                embedded = embedded.index_copy(0, places, values.to(embedded.dtype))
        return embedded

    def states(self, embedded: Tensor, positions: Tensor, documents: Documents) -> Tensor:
        """The last hidden states (T, C) of texts that lie one behind the other."""
        decoder = self.model.base_model
        if self.documents:
            nothing = embedded.new_ones(1, 1, 1, 1, dtype=torch.bool)  # a ready mask, so that none of T x T is made
            given = {"inputs_embeds": embedded[None], "position_ids": positions[None], "attention_mask": nothing}
            hidden: Tensor = decoder(**given, documents=documents, use_cache=False).last_hidden_state[0]
            return hidden
        padded, mask = side_by_side(embedded, documents)
        found: Tensor = decoder(inputs_embeds=padded, attention_mask=mask, use_cache=False).last_hidden_state
        return behind(found, documents)

    @torch.no_grad()
    def generate(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any], **options: Any) -> list[list[int]]:
        """The ids that follow each sample's text; `options` are those of transformers' `generate`."""
        text = given(inputs)
        longest = max(text["lengths"])
        mask = (torch.arange(longest) >= longest - torch.tensor(text["lengths"])[:, None]).long()

        def left(whole: Tensor) -> Tensor:
            rows = whole.split(list(text["lengths"]))
            return torch.stack([torch.cat([row.new_zeros(longest - len(row), *row.shape[1:]), row]) for row in rows])

        takes = inspect.signature(self.model.prepare_inputs_for_generation).parameters
        begin = 0
        if "inputs_embeds" in takes:
            prompt = {"inputs_embeds": left(self.embedded(encoded, text))}
        elif any(len(places) for places in text["media"].values()):
            raise A2AError(f"a `{self.model.config.model_type}` model cannot go on from media: it generates from ids alone")
        else:
            prompt, begin = {"input_ids": left(text["ids"])}, longest
        mask = mask.to(text["ids"].device)
        ids: Tensor = self.model.generate(**prompt, attention_mask=mask, **{"pad_token_id": 0, **options})
        ends = options.get("eos_token_id") or []
        stops = {ends} if isinstance(ends, int) else set(ends)
        return [until(row, stops) for row in ids[:, begin:].tolist()]

    def reset_buffers(self) -> None:
        """Refill what no file holds."""
        refill_buffers(self.model)


def language_model(config: PretrainedConfig) -> Any:
    """`AutoModelForCausalLM` with random weights; A2AError where transformers has none."""
    refuse_other(config)
    return AUTO_MODEL.from_config(config, dtype=torch.float32)


def refuse_other(config: PretrainedConfig) -> None:
    """A2AError for what is no language model."""
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise A2AError(f"transformers has no causal language model of type `{config.model_type}`")


def given(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The batch's text; A2AError where the collator reads none."""
    if "text" not in inputs:
        raise A2AError("`causal-lm` reads text, and the collator gives none", hint='[collator] use = "chat", of a2a-chat')
    found: Mapping[str, Any] = inputs["text"]
    return found


def until(ids: list[int], stops: set[int]) -> list[int]:
    """What stands before the first of some ids."""
    return ids[: next((place for place, each in enumerate(ids) if each in stops), len(ids))]


def special_ids(config: PretrainedConfig, data: str) -> None:
    """Let the configuration name the tokenizer's special tokens; where it names several, that stays."""
    tokenizer = shared(data)
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        found, known = getattr(tokenizer, name), getattr(config, name, None)
        if (found is not None or not data) and not isinstance(known, list):
            setattr(config, name, found)


def trace(config: PretrainedConfig) -> tuple[bool, frozenset[str]]:
    """On the meta device: whether each of the model's layers is told where texts end, and which parameters nothing reaches."""
    try:
        with tracing():
            model = language_model(config).eval()
            if model._can_set_experts_implementation():
                model.set_experts_implementation("batched_mm")  # the default wants bfloat16 on the meta device
            apart = told(model)
            embedded = torch.zeros(1, 4, model.get_input_embeddings().embedding_dim)
            hidden = model.base_model(inputs_embeds=embedded, use_cache=True).last_hidden_state  # else masks want values
            unused = unreached(model, Unembedding(model)(hidden)) - {name_of(model, model.get_input_embeddings().weight)}
    except (AssertionError, AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        raise A2AError(f"`causal-lm` cannot run this `{config.model_type}` model: {error}") from None
    return apart, unused


def name_of(model: nn.Module, wanted: Tensor) -> str:
    """A parameter's name."""
    return next((name for name, parameter in model.named_parameters() if parameter is wanted), "")


def told(model: Any) -> bool:
    """Each layer attends by the interface of transformers, and hands on what it does not know."""
    if not getattr(model, "_supports_attention_backend", False) or not getattr(model, "_supports_sdpa", False):
        return False
    documents = Documents([2, 2])
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    places = torch.tensor([[0, 1, 0, 1]])
    embedded = torch.zeros(1, 4, model.get_input_embeddings().embedding_dim)
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation(NAME)
        model.base_model(inputs_embeds=embedded, position_ids=places, attention_mask=mask, documents=documents, use_cache=False)
    except (TypeError, ValueError, RuntimeError, AttributeError, KeyError):
        return False
    finally:
        model.set_attn_implementation(before)
    return documents.seen == int(model.config.get_text_config().num_hidden_layers)


def load_language_model(module: Any, path: Path, new: Sequence[int] = ()) -> None:
    """Copy a directory's weights into what `build` made; rows of `new` ids, which it may lack, get the mean of all others."""
    rows = int(read_config(path, {}, typed=False).get_text_config().vocab_size)
    resized(module.model, rows)
    load_pretrained(module.model, path, via=AUTO_MODEL, unused=module.unused)
    resized(module.model, module.vocabulary)
    with torch.no_grad():
        old = torch.ones(module.vocabulary, dtype=torch.bool)
        old[list(new)] = False
        for layer in (module.model.get_input_embeddings(), module.model.get_output_embeddings()):
            for parameter in layer.parameters(recurse=False) if new else ():
                parameter[~old] = parameter[old].mean(0)


def resized(model: Any, rows: int) -> None:
    """The vocabulary's tables with so many rows; new ones mean nothing yet."""
    if model.get_input_embeddings().num_embeddings != rows:
        with quiet():
            model.resize_token_embeddings(rows, mean_resizing=False)
