"""The `token-embedding` encoder: the input embeddings of any Hugging Face model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import attrs

from a2a_core import A2AError, EncoderConfig, option
from a2a_text.embedding import EXAMPLES
from a2a_text.embedding_matrix import SINGLE, find_matrix, refuse_without_safetensors
from a2a_text.tokenization import PREFIX, TextProcessor, largest_id, pack, shared, tokenizer_file

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

FILLED = "filled in by a2a when a model is saved"


class TokenEmbeddingEncoder(EncoderConfig):
    """Text to tokens by the input embedding matrix of any model directory of Hugging Face: Llama, Qwen, BERT, T5, GPT-2 ...

    `path` is a directory that `save_pretrained` wrote (config.json, safetensors in one file or in shards, tokenizer.json).
    On the first build that one tensor is read out of it, and nothing else: the embeddings of a language model of many
    gigabytes cost what they weigh. A model of several parts (LLaVA) gives those of its text. The matrix is as it lies in the
    file, as float32: what some models do to its rows (Gemma scales them) is left out, and so are positions.

    Text becomes ids by the directory's own tokenizer.json, or by `tokenizer`, with its special tokens. A text of no tokens
    becomes one special token: begin, end or padding, the first that the model has. A text longer than `max_length` is an
    error; with `truncate` its tail is dropped.

    The matrix is trained along with the rest, or kept by `freeze_matrix`; `width` adds a trained linear layer behind it.
    `freeze` keeps everything, so that it goes without `width`: the fusion's projector is trained instead.

    Shapes: `input_ids` (N, T) and `attention_mask` (N, T) to values (N, T, width). A saved model carries its matrix and its
    tokenizer and needs the directory no more.
    """

    name: ClassVar[str] = "token-embedding"
    modality: ClassVar[str] = "text"
    reading: ClassVar[frozenset[str]] = EncoderConfig.reading | {"max_length", "prefix", "truncate"}
    own: ClassVar[frozenset[str]] = EncoderConfig.own | {"prefix"}

    path: Path = option("a directory with a saved model")
    tokenizer: Path | None = option("a tokenizer.json, or a directory with one (none: that of `path`)", default=None)
    width: int | None = option("channels of a token, by a linear layer (none: the matrix's own)", default=None, gt=0)
    freeze_matrix: bool = option("keep the matrix as it was read, and train the linear layer alone", default=False)
    max_length: int | None = option("most tokens of a text, special tokens included (none: any number)", default=None, ge=2)
    truncate: bool = option("drop the tail of a longer text instead of refusing it", default=False)
    prefix: str = option(PREFIX, default="")
    tokenizer_data: str = option(f"the tokenizer.json itself, packed; {FILLED}", default="")
    rows: int = option(f"rows of the matrix; {FILLED}", default=0, ge=0)
    columns: int = option(f"its columns; {FILLED}", default=0, ge=0)
    empty_id: int = option(f"the token of an empty text; {FILLED}", default=0, ge=0)

    def check(self) -> None:
        """ValueError for a directory without model, weights or tokenizer, and for a projection that would stay random."""
        if self.tokenizer_data:
            return
        if self.freeze and self.width is not None:
            raise ValueError(
                "`freeze` would keep the linear layer to `width` as it is, random: "
                "set `freeze_matrix` instead, or leave `width` out"
            )
        if not (self.path / "config.json").is_file():
            raise ValueError(f"`path`: there is no model at {self.path} (no config.json)")
        refuse_without_safetensors(self.path)
        tokenizer_file(self.tokenizer or self.path)

    def resolved(self) -> Self:
        """A copy that carries the tokenizer and the matrix's size; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import read_config
        from a2a_text.hf_config import special_ids

        if self.tokenizer_data:
            return self
        config = read_config(self.path, {})
        matrix = find_matrix(self.path, config)
        data = pack(self.tokenizer or self.path)
        ids = largest_id(shared(data)) + 1
        if ids > matrix.rows:
            raise A2AError(f"text becomes ids up to {ids - 1}, and `{matrix.name}` has {matrix.rows} rows")
        found = next((token for token in special_ids(config.get_text_config()) if token is not None), 0)
        size = {"rows": matrix.rows, "columns": matrix.width}
        copy: Self = attrs.evolve(cast("Any", self), tokenizer=None, tokenizer_data=data, empty_id=found, **size)
        return copy

    def processor(self) -> TextProcessor:
        """Strings to ids."""
        whole = self.resolved()
        return TextProcessor(
            whole.tokenizer_data,
            pad_id=whole.empty_id,
            empty_id=whole.empty_id,
            max_length=self.max_length,
            truncate=self.truncate,
            prefix=self.prefix,
        )

    def build(self) -> nn.Module:
        """The matrix with random values, and the linear layer."""
        from a2a_text.token_embedding_model import TokenEmbeddingModel

        whole = self.resolved()
        return TokenEmbeddingModel(whole.rows, whole.columns, self.width, self.freeze_matrix)

    def load(self, module: nn.Module) -> None:
        """Read the matrix of `path`; A2AError when it is not there."""
        from a2a_core.pretrained.configuration import read_config

        model: Any = module
        matrix = find_matrix(self.path, read_config(self.path, {}))
        model.embeddings.load_state_dict({"weight": matrix.read()})

    def examples(self, folder: Path) -> Sequence[Any]:
        """Those of `embedding`."""
        return EXAMPLES

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """A directory with a BERT's embeddings of four words, and nothing else of it."""
        import torch
        from safetensors.torch import save_file
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import BertConfig

        words = Tokenizer(models.WordLevel({"?": 0, "two": 1, "words": 2, "The": 3}, unk_token="?"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        words.save(str(folder / "tokenizer.json"))
        BertConfig(vocab_size=5, hidden_size=8, num_attention_heads=2).save_pretrained(folder)
        save_file({"bert.embeddings.word_embeddings.weight": torch.eye(5, 8)}, folder / SINGLE)
        return cls(path=folder, width=16)
