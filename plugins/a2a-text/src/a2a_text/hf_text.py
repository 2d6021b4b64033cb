"""The `hf-text` encoder: any Hugging Face text model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import attrs

from a2a_core import A2AError, EncoderConfig, option
from a2a_core.pretrained import check_source
from a2a_text.embedding import EXAMPLES
from a2a_text.tokenization import (
    BYTE_VOCABULARY,
    EOS,
    PAD,
    PREFIX,
    TextProcessor,
    largest_id,
    pack,
    shared,
    tokenizer_file,
)

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

SEES_PADDING = frozenset({"canine", "convbert", "fnet", "funnel", "nystromformer", "yoso"})
"""Models that mix positions without honouring the attention mask: their neighbours in a batch would change a text."""


class HfTextEncoder(EncoderConfig):
    """Text to tokens by any text model of transformers: BERT, RoBERTa, DeBERTa, T5, GPT-2, Llama ...

    `path` is a directory that `save_pretrained` wrote (config.json, safetensors, tokenizer.json): its weights are loaded on
    the first build. `config` is a table instead (`model_type` and its fields), for a model from scratch. Of an
    encoder-decoder the encoder is used, of a model with text and other parts the text model; poolers are left out.

    Shapes: `input_ids` (N, T) and `attention_mask` (N, T), padded on the right, to the hidden states (N, T, hidden_size) of
    `layer`. Text becomes ids by `tokenizer`, else by the directory's own tokenizer.json, with its special tokens. A model
    from `config` without a tokenizer reads UTF-8 bytes with the ids of ByT5 (arXiv 2105.13626: pad 0, end of text 1, byte b
    is b + 3): its `vocab_size` must be at least 259, its `pad_token_id` and `eos_token_id` become 0 and 1. A text of no
    tokens becomes one special token: begin, end or padding, the first that the model has.

    `prefix` is put before every text ("query: ", an instruction); it counts in `max_length` and is never cut. A text longer
    than `max_length` is an error; with `truncate` its tail is dropped, special tokens at the end kept.
    A saved model carries its config and its tokenizer and needs the directory no more.
    """

    name: ClassVar[str] = "hf-text"
    modality: ClassVar[str] = "text"
    reading: ClassVar[frozenset[str]] = EncoderConfig.reading | {"max_length", "prefix", "truncate"}
    own: ClassVar[frozenset[str]] = EncoderConfig.own | {"prefix"}

    path: Path | None = option("a directory with a saved model", default=None)
    config: dict[str, Any] = option(
        "the model's configuration: `model_type` and its fields (empty: that of `path`)", default={}
    )
    tokenizer: Path | None = option(
        "a tokenizer.json, or a directory with one (none: that of `path`, else UTF-8 bytes)", default=None
    )
    layer: int = option(
        "hidden states to use: -1 the model's output, 0 the embeddings, 1 after the first layer ...", default=-1
    )
    max_length: int | None = option(
        "most tokens of a text, special tokens included (none: as many as the model has positions)", default=None, ge=2
    )
    truncate: bool = option("drop the tail of a longer text instead of refusing it", default=False)
    prefix: str = option(PREFIX, default="")
    tokenizer_data: str = option("the tokenizer.json itself, packed; filled in by a2a when a model is saved", default="")

    def check(self) -> None:
        """ValueError for a directory, tokenizer or configuration that cannot be."""
        check_source(self.path, self.config, bool(self.tokenizer_data), "bert")
        refuse_unfit(str(self.config.get("model_type", "")))
        if not self.tokenizer_data and (source := self.tokenizer or self.path):
            tokenizer_file(source)

    def resolved(self) -> Self:
        """A copy that carries the model's configuration, its tokenizer and its length limit; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain, read_config
        from a2a_text.hf_config import length_limit
        from a2a_text.hf_text_model import trace

        if self.tokenizer_data:
            return self
        config = read_config(self.path, self.config).get_text_config()
        refuse_unfit(config.model_type)
        source = self.tokenizer or self.path
        data = pack(source) if source is not None else ""
        if not data:
            config.pad_token_id, config.eos_token_id = PAD, EOS
        traced = trace(config, self.layer)
        ids = largest_id(shared(data)) + 1 if data else BYTE_VOCABULARY
        if ids > traced.vocabulary:
            raise A2AError(f"text becomes ids up to {ids - 1}, and the model has an embedding of {traced.vocabulary} rows")
        copy: Self = attrs.evolve(
            cast("Any", self),
            tokenizer=None,
            tokenizer_data=data,
            config=plain(config),
            max_length=length_limit(self.max_length, traced.positions),
        )
        return copy

    def processor(self) -> TextProcessor:
        """Strings to ids."""
        from a2a_core.pretrained.configuration import configuration
        from a2a_text.hf_config import special_ids

        whole = self.resolved()
        begin, end, pad = special_ids(configuration(whole.config))
        first = next((token for token in (begin, end, pad) if token is not None), 0)
        return TextProcessor(
            whole.tokenizer_data,
            pad_id=first if pad is None else pad,
            empty_id=first,
            max_length=whole.max_length,
            truncate=self.truncate,
            prefix=self.prefix,
        )

    def build(self) -> nn.Module:
        """The model with random weights; parameters that can get no gradient are frozen."""
        from a2a_core.pretrained.configuration import configuration
        from a2a_text.hf_text_model import HfTextModel

        return HfTextModel(configuration(self.resolved().config), self.layer)

    def load(self, module: nn.Module) -> None:
        """Copy the weights of `path`; A2AError when one is missing there."""
        from a2a_core.pretrained.configuration import configuration
        from a2a_text.hf_text_model import load_text

        if self.path is not None:
            load_text(module, self.path, configuration(self.resolved().config))

    def examples(self, folder: Path) -> Sequence[Any]:
        """Those of `embedding`."""
        return EXAMPLES

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """A BERT of one layer on bytes."""
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        return cls(config={"model_type": "bert", "vocab_size": 259, "max_position_embeddings": 64, **sizes})


def refuse_unfit(model_type: str) -> None:
    """ValueError for a model that sees its padding."""
    if model_type in SEES_PADDING:
        raise ValueError(f"a `{model_type}` model sees its padding: a text would change with its neighbours in the batch")
