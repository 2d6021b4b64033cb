"""The `embedding` encoder: text from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import attrs

from a2a_core import EncoderConfig, option
from a2a_text.tokenization import BYTE_VOCABULARY, PAD, PREFIX, TextProcessor, largest_id, pack, shared, tokenizer_file

if TYPE_CHECKING:
    from typing import Self

    from torch import nn


class EmbeddingEncoder(EncoderConfig):
    """Text to tokens, trained from scratch: embeddings, learned positions, a pre-norm transformer (arXiv 2002.04745).

    By default the tokens are UTF-8 bytes with the ids of ByT5 (arXiv 2105.13626: pad 0, end of text 1, byte b is b + 3), so
    no language needs a vocabulary; `tokenizer` names a tokenizer.json instead, whose special tokens are then added.
    An empty text is one token: the end of text, or the padding id where the tokenizer adds none.
    A text longer than `max_length` is an error; with `truncate` its tail is dropped.

    Shapes: `input_ids` (N, T) and `attention_mask` (N, T) to values (N, T, width). A saved model carries its tokenizer.
    """

    name: ClassVar[str] = "embedding"
    modality: ClassVar[str] = "text"
    reading: ClassVar[frozenset[str]] = EncoderConfig.reading | {"prefix", "truncate"}
    own: ClassVar[frozenset[str]] = EncoderConfig.own | {"prefix"}

    width: int = option("channels of a token", default=128, gt=0)
    layers: int = option("transformer layers (0: embeddings and positions alone)", default=2, ge=0)
    num_heads: int = option("attention heads; they divide `width`", default=4, gt=0)
    max_length: int = option("most tokens of a text, special tokens included", default=512, ge=2)
    truncate: bool = option("drop the tail of a longer text instead of refusing it", default=False)
    prefix: str = option(PREFIX, default="")
    dropout: float = option("probability of dropping an activation in training", default=0.1, ge=0, lt=1)
    tokenizer: Path | None = option("a tokenizer.json, or a directory with one (none: UTF-8 bytes)", default=None)
    tokenizer_data: str = option("the tokenizer.json itself, packed; filled in by a2a when a model is saved", default="")

    def check(self) -> None:
        """ValueError when heads do not divide the width or the tokenizer is not there."""
        if self.width % self.num_heads:
            raise ValueError(f"`width` = {self.width} is no multiple of `num_heads` = {self.num_heads}")
        if self.tokenizer is not None and not self.tokenizer_data:
            tokenizer_file(self.tokenizer)

    def resolved(self) -> Self:
        """A copy that carries its tokenizer."""
        if self.tokenizer is None or self.tokenizer_data:
            return self
        copy: Self = attrs.evolve(cast("Any", self), tokenizer=None, tokenizer_data=pack(self.tokenizer))
        return copy

    def processor(self) -> TextProcessor:
        """Strings to ids."""
        data = self.resolved().tokenizer_data
        pad_id = largest_id(shared(data)) + 1 if data else PAD
        return TextProcessor(
            data,
            pad_id=pad_id,
            empty_id=pad_id,
            max_length=self.max_length,
            truncate=self.truncate,
            prefix=self.prefix,
        )

    def build(self) -> nn.Module:
        """The module; with a tokenizer the embedding has one row more than its largest id, for padding."""
        from a2a_text.embedding_model import EmbeddingModel

        data = self.resolved().tokenizer_data
        return EmbeddingModel(
            vocabulary=largest_id(shared(data)) + 2 if data else BYTE_VOCABULARY,
            width=self.width,
            layers=self.layers,
            num_heads=self.num_heads,
            max_length=self.max_length,
            dropout=self.dropout,
        )

    def examples(self, folder: Path) -> Sequence[Any]:
        """Texts of 0 to 30 characters, one of them beyond ASCII."""
        return EXAMPLES

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two heads of 8, one layer, bytes."""
        return cls(width=16, layers=1, num_heads=2, max_length=64)


EXAMPLES = ("a", "", "two words", "größer als 日本", "The quick brown fox is quick.")
