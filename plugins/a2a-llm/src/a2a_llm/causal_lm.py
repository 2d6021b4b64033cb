"""The fusion `causal-lm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import attrs

from a2a_core import A2AError, FusionConfig, option
from a2a_core.pretrained import check_source
from a2a_llm.vocabulary import BYTES, LanguageText, ids_of, largest_id, pack, with_tokens

if TYPE_CHECKING:
    from torch import nn

    from a2a_core.data import Collate
    from a2a_core.export import Exporter
    from a2a_core.model import A2AModel


class CausalLm(FusionConfig):
    """Any causal language model of transformers: it reads text, with the encoders' tokens where the text has its media.

    `path` is a directory that `save_pretrained` wrote (config.json, safetensors, tokenizer): its weights are loaded on the
    first build. `config` is a table instead (`model_type` and its fields), for a model from scratch. Text becomes ids by
    `tokenizer`, else by the directory's own; a model from `config` without a tokenizer reads UTF-8 bytes with the ids of
    ByT5 (arXiv 2105.13626: pad 0, end of text 1, byte b is b + 3).

    Encoders' tokens, through their projectors, take the places of `<image>`, `<audio>` and `<video>` in the text, as in
    LLaVA (arXiv 2304.08485, section 4.1): any number, anywhere. Without encoders this is plain language modelling.

    Texts of a batch lie one behind the other, and each attends to itself alone: nothing is padded. Models whose attention
    cannot be told where a text ends (`layout` finds out) read them side by side, padded.

    Shapes: ids (T,) to `hidden` (T, hidden_size); `pooled` (B, hidden_size) is the state at each text's last token.
    """

    name: ClassVar[str] = "causal-lm"
    needs_encoders: ClassVar[bool] = False
    reads_text: ClassVar[bool] = True

    path: Path | None = option("a directory with a saved model", default=None)
    config: dict[str, Any] = option(
        "the model's configuration: `model_type` and its fields (empty: that of `path`)", default={}
    )
    tokenizer: Path | None = option(
        "a directory with a tokenizer, as transformers saves it (none: that of `path`, else UTF-8 bytes)", default=None
    )
    extra_tokens: tuple[str, ...] = option(
        "tokens that the vocabulary gets beside the tokenizer's own; each new row begins as the mean of the old ones",
        default=(),
    )
    layout: Literal["auto", "documents", "padded"] = option(
        "texts one behind the other, or side by side; `auto`: the first where the model's attention can", default="auto"
    )
    tokenizer_data: str = option("the tokenizer itself, packed; filled in by a2a when a model is saved", default="")

    def check(self) -> None:
        """ValueError for a directory or a configuration that cannot be."""
        check_source(self.path, self.config, bool(self.tokenizer_data), "llama")
        if self.tokenizer is not None and not self.tokenizer_data and not self.tokenizer.exists():
            raise ValueError(f"`tokenizer`: there is nothing at {self.tokenizer}")

    def resolved(self) -> Self:
        """A copy that carries the model's configuration and its tokenizer; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain, read_config
        from a2a_llm.causal_lm_model import refuse_other, special_ids

        if self.tokenizer_data:
            return self
        source = self.tokenizer or self.path
        data = pack(source) if source is not None else ""
        config = read_config(self.path, self.config, typed=self.path is None)
        refuse_other(config)
        rows = config.get_text_config().vocab_size
        ids = largest_id(data) + 1 if data else BYTES
        if ids > rows:
            raise A2AError(f"text becomes ids up to {ids - 1}, and the model has `vocab_size` = {rows}")
        special_ids(config, data)
        if self.extra_tokens:
            data = with_tokens(data, self.extra_tokens)
            config.get_text_config().vocab_size = max(rows, largest_id(data) + 1)
        copy: Self = attrs.evolve(cast("Any", self), tokenizer=None, tokenizer_data=data, config=plain(config))
        return copy

    def with_tokens(self, tokens: Sequence[str]) -> Self:
        """A copy with more of `extra_tokens`; which the tokenizer has already is said by `resolved`."""
        copy: Self = attrs.evolve(cast("Any", self), extra_tokens=(*self.extra_tokens, *tokens))
        return copy

    def processor(self) -> LanguageText:
        """The model's tokenizer."""
        from a2a_core.pretrained.configuration import configuration

        whole = self.resolved()
        positions = getattr(configuration(whole.config).get_text_config(), "max_position_embeddings", None)
        return LanguageText(whole.tokenizer_data, positions if positions and positions > 0 else None)

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The model with random weights."""
        from a2a_core.pretrained.configuration import configuration
        from a2a_llm.causal_lm_model import CausalLmModel

        return CausalLmModel(configuration(self.resolved().config), self.layout)

    def load(self, module: nn.Module) -> None:
        """Copy the weights of `path`; A2AError when one is missing there."""
        from a2a_llm.causal_lm_model import load_language_model

        if self.path is not None:
            load_language_model(module, self.path, ids_of(self.resolved().tokenizer_data, self.extra_tokens))

    def formats(self, model: A2AModel, collate: Collate) -> Mapping[str, Exporter]:
        """As a language model of its own class, or with one encoder of images as LLaVA."""
        from a2a_llm.exports import LanguageModelExport
        from a2a_llm.llava import LlavaExport

        return {"transformers": LanguageModelExport(model, collate), "llava": LlavaExport(model, collate)}

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """A Llama of one layer on bytes."""
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        return cls(config={"model_type": "llama", "vocab_size": BYTES, "max_position_embeddings": 128, **sizes})
