"""A language model's tokenizer as a string that a saved model carries, and the text processor made of it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from a2a_core import A2AError

if TYPE_CHECKING:
    from a2a_core import Item

MODALITIES: Final = ("image", "audio", "video")
PAD, END, UNKNOWN, FIRST_BYTE = 0, 1, 2, 3
"""Without a tokenizer: UTF-8 bytes with the ids of ByT5 (arXiv 2105.13626, section 3)."""
BYTES: Final = FIRST_BYTE + 256


def pack(path: Path) -> str:
    """A directory's tokenizer.json, its special tokens and its chat template: JSON, zlib, base64."""
    from transformers import AutoTokenizer

    auto: Any = AutoTokenizer
    try:
        found = auto.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise A2AError(f"{path} has no tokenizer that transformers reads: {' '.join(str(error).split())[:300]}") from None
    if not getattr(found, "is_fast", False):
        raise A2AError(f"the tokenizer in {path} is no tokenizer.json, which tells where in a text each token lies")
    return packed(found)


def packed(tokenizer: Any) -> str:
    """A tokenizer of transformers, packed.

    Of several chat templates only `default` is kept, the one for conversations; the others (`tool_use`, `rag`) are for callers
    who ask by name, as nothing here does. Without a `default` there is none, and a recipe with conversations must name one.
    """
    template = tokenizer.chat_template
    kept = {
        "tokenizer": tokenizer.backend_tokenizer.to_str(),
        "special": {name: str(value) for name, value in tokenizer.special_tokens_map.items() if isinstance(value, str)},
        "template": template.get("default") if isinstance(template, dict) else template,
        "clean_up": bool(getattr(tokenizer, "clean_up_tokenization_spaces", False)),
    }
    return base64.b64encode(zlib.compress(json.dumps(kept, ensure_ascii=False).encode(), 9)).decode("ascii")


def unpack(data: str) -> Any:
    """The PreTrainedTokenizerFast of a packed string, without the padding and truncation it was saved with; "" is bytes."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if not data:
        return PreTrainedTokenizerFast(tokenizer_object=of_bytes(), pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    kept = json.loads(zlib.decompress(base64.b64decode(data)))
    backend = Tokenizer.from_str(kept["tokenizer"])
    backend.no_padding()
    backend.no_truncation()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=kept["template"],
        clean_up_tokenization_spaces=kept["clean_up"],
        **kept["special"],
    )


@lru_cache(maxsize=4)
def shared(data: str, marks: tuple[str, ...] = ()) -> Any:
    """As `unpack`, with some special tokens more: one for all who ask, so it must stay as it is.

    A vocabulary of 120,000 tokens takes 0.8 s to unpack, and tokenizers are asked for row by row.
    """
    from tokenizers import AddedToken

    found = unpack(data)
    found.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks], special_tokens=True)
    return found


def of_bytes() -> Any:
    """A tokenizer of UTF-8 bytes: three special tokens, then byte b as b + 3."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = {letter: byte + FIRST_BYTE for byte, letter in bytes_to_unicode().items()}
    special = {"<pad>": PAD, "</s>": END, "<unk>": UNKNOWN}
    tokenizer = Tokenizer(models.BPE(vocab={**special, **letters}, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    return tokenizer


def largest_id(data: str) -> int:
    """The largest id that a text may become."""
    return int(max(shared(data).get_vocab().values()))


def with_tokens(data: str, tokens: Sequence[str]) -> str:
    """A packed tokenizer that knows more tokens: plain text to it, never cut nor normalised; A2AError for known ones."""
    from tokenizers import AddedToken

    tokenizer = unpack(data)
    known, twice = tokenizer.get_vocab(), [token for token in tokens if tokens.count(token) > 1]
    for token in tokens:
        if token in known or token in twice:
            what = "is among the new tokens twice" if token in twice else "is in the vocabulary already"
            raise A2AError(f"`{token}` {what}", hint="what is there already can be trained as it is")
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    return packed(tokenizer)


def ids_of(data: str, tokens: Sequence[str]) -> list[int]:
    """The ids of some tokens."""
    found: list[int] = shared(data).convert_tokens_to_ids(list(tokens)) if tokens else []
    return found


class LanguageText:
    """The text processor of a language model whose media come from encoders (see a2a_core.TextProcessor).

    Each modality has a placeholder, one special token that is added here and never reaches the model: its places are
    filled with the encoder's tokens.
    """

    parts = False

    def __init__(self, data: str, max_length: int | None, modalities: Sequence[str] = MODALITIES) -> None:
        self.data = intern(data)  # one of all that are equal: to find what is shared, megabytes would be compared
        self.max_length, self.modalities = max_length, tuple(modalities)

    @property
    def tokenizer(self) -> Any:
        """The model's own, with the placeholders; shared, not to be changed."""
        return shared(self.data, tuple(self.placeholder(modality) for modality in self.modalities))

    def placeholder(self, modality: str) -> str:
        """A string that no text has by accident."""
        if modality not in self.modalities:
            raise ValueError(f"a text cannot hold a medium of modality `{modality}`: there is {', '.join(self.modalities)}")
        return f"<|a2a_{modality}|>"

    def expanded(self, modality: str, item: Item, length: int) -> tuple[Sequence[int], Sequence[bool]]:
        """So many places, all the medium's own; which id stands there does not matter."""
        return [0] * length, [True] * length
