from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "sat", "on", "the", "mat"]


def word_tokenizer(template: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return tokenizer


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A tokenizer.json of eleven words, saved with padding and truncation switched on."""
    tokenizer = word_tokenizer()
    tokenizer.enable_padding(length=20)
    tokenizer.enable_truncation(4)
    path = tmp_path / "words" / "tokenizer.json"
    path.parent.mkdir()
    tokenizer.save(str(path))
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The same without special tokens, and with a hole in its numbering."""
    path = tmp_path / "bare.json"
    content = json.loads(word_tokenizer(template=False).to_str())
    content["model"]["vocab"]["mat"] = 40
    path.write_text(json.dumps(content))
    return path
