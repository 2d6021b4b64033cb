"""The module of the fusion `hf-multimodal`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from a2a_core import A2AError, Fused, Tokens
from a2a_llm.causal_lm_model import until
from a2a_llm.documents import documents_of, last
from a2a_llm.hf_multimodal_decoder import DrivenModel, Dummies, deep
from a2a_llm.hf_multimodal_generation import stock_inputs
from a2a_llm.hf_multimodal_positions import grids_of, spatial
from a2a_llm.hf_multimodal_towers import TOWERS
from a2a_llm.unembedding import Unembedding


class HfMultimodalModel(DrivenModel):
    """A whole multimodal model, its output layer included."""

    input_width = None

    def __init__(self, config: PretrainedConfig, dummies: Dummies, layout: str = "auto") -> None:
        super().__init__(config, dummies, layout)
        self.modalities = tuple(dummies)
        self.vocabulary = int(config.get_text_config().vocab_size)

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        """See HfMultimodal."""
        text = given(inputs)
        features = TOWERS[self.family.layout](self.model.model, {key: inputs[key]["tensors"] for key in self.modalities})
        embedded: Tensor = self.model.get_input_embeddings()(text["ids"])
        self.refuse_leaks(embedded)
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


def given(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The batch's text; A2AError where the collator reads none."""
    if "text" not in inputs:
        raise A2AError("`hf-multimodal` reads text, and the collator gives none", hint='[collator] use = "chat", of a2a-chat')
    found: Mapping[str, Any] = inputs["text"]
    return found
