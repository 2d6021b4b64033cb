from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from a2a_core import A2AError
from a2a_text.tokenization import BYTE_VOCABULARY, TextProcessor, largest_id, pack, unpack

BYT5 = ByT5Tokenizer(extra_ids=0)


def processor(
    tokenizer: Path | None = None, max_length: int | None = 16, truncate: bool = False, prefix: str = ""
) -> TextProcessor:
    data = pack(tokenizer) if tokenizer else ""
    return TextProcessor(data, pad_id=0, empty_id=7, max_length=max_length, truncate=truncate, prefix=prefix)


def ids(made: TextProcessor, text: str) -> list[int]:
    item = made(text)
    assert item.length == len(item.tensors["input_ids"])
    assert item.tensors["input_ids"].dtype == torch.int64
    return item.tensors["input_ids"].tolist()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_bytes_have_the_ids_of_byt5(text: str) -> None:
    assert ids(processor(max_length=None), text) == [byte + 3 for byte in text.encode()] + [1]


def test_bytes_against_transformers() -> None:
    text = "Grüße, 日本 🙂"
    assert ids(processor(max_length=None), text) == BYT5(text)["input_ids"]
    assert len(BYT5) == BYTE_VOCABULARY


def test_truncated_bytes_against_transformers() -> None:
    text = "a rather long text"
    assert ids(processor(max_length=9, truncate=True), text) == BYT5(text, truncation=True, max_length=9)["input_ids"]
    assert ids(processor(max_length=19, truncate=True), text) == BYT5(text)["input_ids"]


def test_what_is_too_long_is_refused_unless_truncation_is_asked_for(words: Path) -> None:
    with pytest.raises(ValueError, match=r"19 tokens, and `max_length` is 9: .*truncate = true"):
        processor(max_length=9)("a rather long text")
    with pytest.raises(ValueError, match="7 tokens, and `max_length` is 6"):
        processor(words, max_length=6)("the cat sat on a")


@pytest.mark.parametrize("raw", [None, 3, 2.5, b"bytes", ["a", "list"], {"a": "table"}, True])
def test_what_is_no_string_is_refused(raw: object, words: Path) -> None:
    for made in (processor(), processor(words)):
        with pytest.raises(ValueError, match=f"must be a string, got {type(raw).__name__}"):
            made(raw)


def test_a_lone_surrogate_is_refused(words: Path) -> None:
    for made in (processor(), processor(words)):
        with pytest.raises(ValueError, match="not valid Unicode: surrogates not allowed at character 2"):
            made("ab\ud800")


def test_tokenizer_against_transformers(words: Path) -> None:
    """The padding and truncation that the file was saved with do not count, its special tokens do."""
    stock = PreTrainedTokenizerFast(tokenizer_file=str(words), pad_token="[PAD]")
    text = "the cat sat on the mat"
    assert ids(processor(words), text) == stock(text, padding=False, truncation=False)["input_ids"]
    for length in (3, 5, 8, 20):
        wanted = stock(text, padding=False, truncation=True, max_length=length)["input_ids"]
        assert ids(processor(words, max_length=length, truncate=True), text) == wanted
        assert wanted[-1] == 3


def test_a_text_without_tokens_is_one_token(words: Path, bare: Path) -> None:
    assert ids(processor(bare), "") == [7]
    assert ids(processor(words), "") == [2, 3]
    assert ids(processor(), "") == [1]
    assert processor(bare).dummy().length == 1


def test_no_room_for_special_tokens(words: Path) -> None:
    with pytest.raises(A2AError, match="the tokenizer adds 2 special tokens"):
        processor(words, max_length=2, truncate=True)


def test_padding_stands_on_the_right_and_the_mask_tells() -> None:
    made = processor()
    padded = made.pad([made("ab"), made(""), made("abcd")])
    assert padded["input_ids"].tolist() == [[100, 101, 1, 0, 0], [1, 0, 0, 0, 0], [100, 101, 102, 103, 1]]
    assert padded["attention_mask"].sum(1).tolist() == [3, 1, 5]
    assert padded["attention_mask"].dtype == torch.bool


def test_a_pickled_processor_works_alike(words: Path) -> None:
    for made in (processor(), processor(words, max_length=4, truncate=True)):
        copy = pickle.loads(pickle.dumps(made))
        assert ids(copy, "the cat sat") == ids(made, "the cat sat")


def test_processors_share_what_they_unpack(words: Path) -> None:
    """One that cuts texts cuts those of no other."""
    plain, cutting = processor(words), processor(words, max_length=4, truncate=True)
    assert processor(words, prefix="the ").tokenizer is plain.tokenizer
    assert processor(words, max_length=4, truncate=True).tokenizer is cutting.tokenizer
    assert len(ids(plain, "the cat sat on the mat")) > len(ids(cutting, "the cat sat on the mat")) == 4


def test_the_largest_id_counts_holes(bare: Path, words: Path) -> None:
    assert largest_id(unpack(pack(bare))) == 40
    assert largest_id(unpack(pack(words.parent))) == 10


def test_what_is_no_tokenizer_is_said(tmp_path: Path) -> None:
    with pytest.raises(A2AError, match=r"there is no tokenizer at .*nowhere"):
        pack(tmp_path / "nowhere")
    with pytest.raises(A2AError, match=r"no tokenizer at .*tokenizer\.json"):
        pack(tmp_path)
    for content in (b"", b"{}", b"[1]", b"\xff\xfe"):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(A2AError, match=r"is no tokenizer\.json that the tokenizers library reads"):
            pack(tmp_path)


def test_a_prefix_stands_before_every_text(words: Path) -> None:
    assert ids(processor(prefix="q: "), "ab") == BYT5("q: ab")["input_ids"]
    assert ids(processor(words, prefix="the "), "cat") == ids(processor(words), "the cat") == [2, 9, 5, 3]
    assert ids(processor(words, prefix="the"), "") == [2, 9, 3]


def test_a_prefix_counts_and_is_never_cut(words: Path) -> None:
    with pytest.raises(ValueError, match="7 tokens, and `max_length` is 6"):
        processor(max_length=6, prefix="q: ")("abc")
    assert ids(processor(max_length=6, truncate=True, prefix="q: "), "abc") == BYT5("q: ab")["input_ids"]
    assert ids(processor(words, max_length=5, truncate=True, prefix="the cat "), "sat on the mat") == [2, 9, 5, 7, 3]


@pytest.mark.parametrize("truncate", [False, True])
def test_a_prefix_that_leaves_no_room_is_refused(words: Path, truncate: bool) -> None:
    with pytest.raises(A2AError, match="`max_length` = 4 leaves no room behind `prefix`, which makes 4 tokens itself"):
        processor(max_length=4, truncate=truncate, prefix="q: ")
    with pytest.raises(A2AError, match="`max_length` = 4 leaves no room behind `prefix`, which makes 4 tokens itself"):
        processor(words, max_length=4, truncate=truncate, prefix="the cat")
