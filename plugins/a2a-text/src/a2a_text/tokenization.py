"""Text to ids: UTF-8 bytes, or a `tokenizer.json` as the tokenizers library reads it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2a_core import A2AError, Item

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

PAD, EOS, FIRST_BYTE = 0, 1, 3
BYTE_VOCABULARY = FIRST_BYTE + 256
"""The ids of ByT5 (arXiv 2105.13626, section 3): pad 0, end of text 1, unknown 2 (never used), byte b is b + 3."""
PREFIX = "put before every text, as it is: an instruction, such as `query: ` of E5; it counts in `max_length` and is never cut"


def tokenizer_file(path: Path) -> Path:
    """The `tokenizer.json` at a path that names it or its directory; ValueError when there is none."""
    found = path / "tokenizer.json" if path.is_dir() else path
    if found.is_file():
        return found
    remedy = "AutoTokenizer.from_pretrained(...).save_pretrained(...) writes one from other formats"
    raise ValueError(f"there is no tokenizer at {found}; {remedy}")


def pack(path: Path) -> str:
    """A tokenizer.json as a string for a model's config.json: zlib, then base64 (about half the size)."""
    try:
        content = tokenizer_file(path).read_bytes()
    except ValueError as error:
        raise A2AError(str(error)) from None
    packed = base64.b64encode(zlib.compress(content, 9)).decode("ascii")
    unpack(packed, name=str(path))
    return packed


def unpack(packed: str, name: str = "the saved tokenizer") -> Tokenizer:
    """The tokenizer of a packed string, without the padding and truncation that it was saved with."""
    from tokenizers import Tokenizer

    content = zlib.decompress(base64.b64decode(packed))
    try:
        tokenizer = Tokenizer.from_str(content.decode("utf-8"))
    except Exception as error:
        raise A2AError(f"{name} is no tokenizer.json that the tokenizers library reads: {error}") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


@lru_cache(maxsize=8)
def shared(packed: str, most: int | None = None) -> Tokenizer:
    """As `unpack`, one for all who ask, so it must stay as it is; with `most`, it cuts texts to so many tokens.

    One of 30,000 tokens takes 50 ms to unpack, and processors are made for each batch of rows that is predicted.
    """
    found = unpack(packed)
    if most is not None:
        found.enable_truncation(most)
    return found


def largest_id(tokenizer: Tokenizer) -> int:
    """The largest id, which holes in the numbering may put above the number of tokens."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


class TextProcessor:
    """A string -> `input_ids` (T,), int64; T is at least 1 and at most `max_length`.

    With a `packed` tokenizer its special tokens are added; without one (""), bytes and an end of text. What is longer than
    `max_length` is a ValueError, or with `truncate` loses its tail (special tokens at the end stay; bytes may be cut inside a
    character). A text of no tokens at all becomes the one token `empty_id`. `prefix` is put before every text, as it is, and
    never cut: A2AError where it leaves no room for a text.
    """

    deterministic = True

    def __init__(
        self,
        packed: str,
        *,
        pad_id: int,
        empty_id: int,
        max_length: int | None,
        truncate: bool,
        prefix: str = "",
    ) -> None:
        self.tokenizer = shared(packed) if packed else None
        self.pad_id, self.empty_id, self.prefix = pad_id, empty_id, prefix
        self.max_length, self.truncate = max_length, truncate
        if max_length is not None:
            self._refuse_no_room(max_length)
            if truncate and packed:
                self.tokenizer = shared(packed, max_length)

    def _refuse_no_room(self, max_length: int) -> None:
        """A2AError where nothing of a text would be left."""
        specials = 1 if self.tokenizer is None else self.tokenizer.num_special_tokens_to_add(False)
        if self.truncate and max_length <= specials:
            raise A2AError(f"`max_length` = {max_length} leaves no room: the tokenizer adds {specials} special tokens")
        taken = len(self._tokenized(self.prefix)) if self.prefix else 0
        if taken >= max_length:
            raise A2AError(f"`max_length` = {max_length} leaves no room behind `prefix`, which makes {taken} tokens itself")

    def __call__(self, raw: Any) -> Item:
        """Tokenise one text; ValueError for what is no text, and for a text that is too long."""
        import torch

        ids = self._ids(raw) or [self.empty_id]
        return Item({"input_ids": torch.tensor(ids, dtype=torch.int64)}, len(ids))

    def _ids(self, raw: Any) -> list[int]:
        if not isinstance(raw, str):
            raise ValueError(f"a text must be a string, got {type(raw).__name__}")
        try:
            raw.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"the text is not valid Unicode: {error.reason} at character {error.start}") from None
        ids = self._tokenized(self.prefix + raw)
        if self.max_length is not None and len(ids) > self.max_length:
            raise ValueError(
                f"the text makes {len(ids)} tokens, and `max_length` is {self.max_length}: "
                "raise it, shorten the text, or set `truncate = true` to drop its tail"
            )
        return ids

    def _tokenized(self, text: str) -> list[int]:
        if self.tokenizer is not None:
            return list(self.tokenizer.encode(text).ids)
        end = self.max_length - 1 if self.truncate and self.max_length is not None else None
        return [byte + FIRST_BYTE for byte in text.encode("utf-8")[:end]] + [EOS]

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`input_ids` (N, T) int64, padded on the right, and `attention_mask` (N, T) bool."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        rows = [item.tensors["input_ids"] for item in items]
        lengths = torch.tensor([len(row) for row in rows])
        input_ids = pad_sequence(rows, batch_first=True, padding_value=self.pad_id)
        return {"input_ids": input_ids, "attention_mask": torch.arange(input_ids.shape[1]) < lengths[:, None]}

    def dummy(self) -> Item:
        """An empty text."""
        return self("")
