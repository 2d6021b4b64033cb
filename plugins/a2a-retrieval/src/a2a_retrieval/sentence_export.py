"""The format `sentence-transformers` of text models: one for both sides, or one for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel

from a2a_core.errors import RunFailed
from a2a_core.export import Exporter, apart, refuse_other
from a2a_core.pretrained.weights import quiet, reopened
from a2a_retrieval.composition import Composition, Side
from a2a_retrieval.sentence_layout import (
    CLASSES,
    OPENS,
    POOLS,
    read_dense,
    read_json,
    write_dense,
    write_json,
    write_modules,
    write_pooling,
)
from a2a_retrieval.written_tokenizers import PROBES, refuse_other_ids, reopened_tokenizer, tokenizer_of
from a2a_text.hf_text_model import without_pooler

ROUTES = {"query": "query", "positive": "document"}
"""Our side -> their route and prompt."""
INPUTS = ("input_ids", "attention_mask")


class SentenceExport(Exporter):
    """Transformer, Pooling, Dense where the head projects, Normalize; a Router of two such rows where sides differ.

    Sides differ by weights, or by the length at which they cut texts, which is the tokenizer's. Prefixes are prompts.
    """

    opens = OPENS

    def __init__(self, composition: Composition) -> None:
        self.composition = composition

    def misfit(self) -> str:
        """Texts alone, by a model that AutoModel opens, and its last layer's output."""
        found = self.composition
        if reason := found.misfit():
            return reason
        for side in found.sides:
            encoder = found.encoder(side)
            if encoder.name != "hf-text":
                return f"it reads texts by `hf-text`, and `encoders.{side.key}` is `{encoder.name}`"
            if encoder.layer != -1:
                return f"it reads a model's output, and `encoders.{side.key}` has `layer = {encoder.layer}`"
            if found.module(side).model.config.is_encoder_decoder:
                return f"it opens whole models, and of `encoders.{side.key}`, an encoder-decoder, the encoder alone is here"
        return ""

    @property
    def routed(self) -> bool:
        """Whether queries and documents go different ways."""
        query, document = self.composition.sides
        lengths = {self.composition.encoder(side).max_length for side in (query, document)}
        return query.owner != document.owner or len(lengths) > 1

    def write(self, folder: Path) -> None:
        """Modules, weights, tokenizers, prompts."""
        found = self.composition
        prompts = {ROUTES[side.name]: found.encoder(side).prefix for side in found.sides}
        if self.routed:
            self.write_router(folder)
            modules = [("Router", "")]
        else:
            modules = self.write_side(found.sides[0], folder, "")
        normalised = [("Normalize", f"{len(modules)}_Normalize")] if found.options.normalise else []
        write_modules(folder, [*modules, *normalised], prompts, found.options.normalise)
        cut = [side.key for side in found.sides if not found.encoder(side).truncate]
        self.notes = [f"it cuts longer texts, which `encoders.{cut[0]}` refuses"] if cut else []

    def write_side(self, side: Side, folder: Path, start: str) -> list[tuple[str, str]]:
        """One side's modules, the names of their folders behind `start`; (class, folder) of each."""
        encoder, model = self.composition.encoder(side), self.composition.module(side).model
        own = folder / f"{start}0_Transformer" if start else folder
        with quiet():
            model.save_pretrained(own)
        tokenizer_of(encoder, INPUTS).save_pretrained(own)
        write_json(own / "sentence_bert_config.json", {"max_seq_length": encoder.max_length, "do_lower_case": False})
        modules = [("Transformer", own.relative_to(folder).as_posix().removeprefix(".")), ("Pooling", f"{start}1_Pooling")]
        write_pooling(folder / modules[1][1], self.composition.module(side).width, self.composition.options.pool)
        projection = self.composition.projection(side)
        if projection is not None:
            modules.append(("Dense", f"{start}2_Dense"))
            write_dense(folder / modules[2][1], projection)
        return modules

    def write_router(self, folder: Path) -> None:
        """A row of modules a side; what is not said to be a query is a document."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = {ROUTES[side.name]: self.write_side(side, folder, f"{ROUTES[side.name]}_") for side in self.composition.sides}
        table = {
            "types": {path: CLASSES + kind for row in rows.values() for kind, path in row},
            "structure": {route: [path for _, path in row] for route, row in rows.items()},
            "parameters": {"default_route": "document", "allow_empty_key": True},
        }
        write_json(folder / "router_config.json", table)

    def compare(self, folder: Path) -> float:
        """Tensors, tokens and vectors of each side, by what the files say."""
        listed = read_json(folder / "modules.json")
        prompts = read_json(folder / "config_sentence_transformers.json")["prompts"]
        router = read_json(folder / "router_config.json")["structure"] if self.routed else {}
        plain = [module["path"] for module in listed if not module["type"].endswith("Normalize")]
        normalised = len(listed) > (1 if self.routed else len(plain))
        difference = 0.0
        for side in self.composition.sides:
            route = ROUTES[side.name]
            found = self.reopened(side, folder, router.get(route, plain), prompts[route])
            found = F.normalize(found, dim=-1) if normalised else found
            ours = self.processor(side)
            wanted = self.composition.vectors(side, ours.pad([ours(text) for text in PROBES]))
            difference = max(difference, apart(found, wanted))
        return difference

    def processor(self, side: Side) -> Any:
        """A side's own, cutting longer texts as the format does."""
        return attrs.evolve(self.composition.encoder(side), truncate=True).processor()

    def reopened(self, side: Side, folder: Path, row: list[str], prompt: str) -> Tensor:
        """The probes' vectors, not normalised, by the modules of a row; RunFailed where tensors or tokens are others."""
        module = self.composition.module(side)
        tokenizer = reopened_tokenizer(folder / row[0])
        texts = [prompt + text for text in PROBES]
        limit = read_json(folder / row[0] / "sentence_bert_config.json")["max_seq_length"]
        cut = {} if limit is None else {"truncation": True, "max_length": limit}
        refuse_other_ids(tokenizer(texts, **cut)["input_ids"], self.processor(side), folder)
        auto: Any = AutoModel
        again = reopened(auto, folder / row[0], **without_pooler(module.model.config))
        refuse_other(module.model.state_dict(), again.state_dict(), folder)
        given = tokenizer(texts, padding=True, return_tensors="pt", **cut)
        pooled = self.pooled(again(**given).last_hidden_state, given["attention_mask"].bool(), folder / row[1])
        return read_dense(folder / row[2])(pooled) if len(row) > 2 else pooled

    def pooled(self, values: Tensor, mask: Tensor, folder: Path) -> Tensor:
        """(N, T, C) -> (N, C), as the table says."""
        table = read_json(folder / "config.json")
        (pool,) = (ours for ours, theirs in POOLS.items() if table[f"pooling_mode_{theirs}"])
        if pool == "mean":
            return (values * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        places = torch.zeros_like(mask[:, 0], dtype=torch.int64) if pool == "cls" else mask.sum(1) - 1
        if not mask[:, 0].all():
            raise RunFailed(f"the tokenizer in {folder.parent} pads on the left")
        return values[torch.arange(len(values)), places]
