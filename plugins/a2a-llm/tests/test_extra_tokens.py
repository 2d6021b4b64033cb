"""Tokens beside the tokenizer's own: what they become, and what their rows begin as."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from a2a_core import A2AError
from a2a_llm.causal_lm import CausalLm
from a2a_llm.vocabulary import BYTES, unpack

TOKENS = ("<box>", "<|near|>")
TINY = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def saved(folder: Path, rows: int, tied: bool) -> LlamaForCausalLM:
    model = LlamaForCausalLM(LlamaConfig(**TINY, vocab_size=rows, tie_word_embeddings=tied))
    model.save_pretrained(folder)
    unpack("").save_pretrained(folder)
    return model


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("rows", [BYTES, BYTES + 1, BYTES + 20], ids=["full", "one to spare", "longer than its tokenizer"])
def test_old_rows_are_the_files_and_new_ones_their_mean(tmp_path: Path, tied: bool, rows: int) -> None:
    model = saved(tmp_path, rows, tied)
    fusion = CausalLm(path=tmp_path, extra_tokens=TOKENS).resolved()
    module: Any = fusion.build({})
    fusion.load(module)
    assert module.vocabulary == max(rows, BYTES + 2) == module.model.config.vocab_size
    new = [BYTES, BYTES + 1]
    for mine, theirs in (
        (module.model.get_input_embeddings(), model.get_input_embeddings()),
        (module.model.get_output_embeddings(), model.get_output_embeddings()),
    ):
        kept = [row for row in range(rows) if row not in new]
        assert torch.equal(mine.weight[kept], theirs.weight[kept])
        torch.testing.assert_close(mine.weight[new], theirs.weight[kept].mean(0).expand(2, -1))
    shared = module.model.get_input_embeddings().weight is module.model.get_output_embeddings().weight
    assert shared is tied


def test_texts_become_their_ids_and_come_back() -> None:
    fusion = CausalLm(config={"model_type": "llama", "vocab_size": BYTES, **TINY}).with_tokens(TOKENS).resolved()
    text = fusion.processor()
    ids = text.tokenizer("a<box>b <|near|>!")["input_ids"]
    assert [each for each in ids if each >= BYTES] == [BYTES, BYTES + 1]
    assert len(ids) == 6
    assert text.tokenizer.decode(ids, skip_special_tokens=True) == "a<box>b <|near|>!"
    assert text.tokenizer.convert_tokens_to_ids(text.placeholder("image")) == BYTES + 2, "behind them"
    assert fusion.config["vocab_size"] == BYTES + 2
    assert fusion.resolved() == fusion


@pytest.mark.parametrize(
    ("tokens", "says"),
    [(("<box>", "</s>"), "`</s>` is in the vocabulary already"), (("<box>", "<box>"), "`<box>` is among the new tokens twice")],
)
def test_tokens_that_are_there(tokens: tuple[str, ...], says: str) -> None:
    with pytest.raises(A2AError, match=says):
        CausalLm(config={"model_type": "llama", "vocab_size": BYTES, **TINY}, extra_tokens=tokens).resolved()
