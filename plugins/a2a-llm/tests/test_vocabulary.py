"""Tokenizers, packed and unpacked."""

from __future__ import annotations

import pickle
from pathlib import Path

import attrs
import pytest

from a2a_llm.causal_lm import CausalLm
from a2a_llm.hf_multimodal import HfMultimodal
from a2a_llm.vocabulary import pack, unpack, with_tokens

TALK = [{"role": "user", "content": "Hi"}]
DEFAULT, TOOLS = "{% for m in messages %}<{{ m.content }}>{% endfor %}", "{{ tools }}"


@pytest.mark.parametrize(
    ("templates", "kept"),
    [
        (DEFAULT, DEFAULT),
        ({"default": DEFAULT, "tool_use": TOOLS, "rag": "{{ documents }}"}, DEFAULT),
        ({"tool_use": TOOLS}, None),
        (None, None),
    ],
    ids=["one", "several", "no default", "none"],
)
def test_the_template_of_a_directory_travels(tmp_path: Path, templates: dict[str, str] | str | None, kept: str | None) -> None:
    tokenizer = unpack("")
    tokenizer.chat_template = templates
    tokenizer.save_pretrained(tmp_path)
    data = pack(tmp_path)
    for again in (unpack(data), unpack(with_tokens(data, ["<box>"]))):
        assert again.chat_template == kept
        if kept is not None:
            assert again.apply_chat_template(TALK, tokenize=False) == "<Hi>"


@pytest.mark.parametrize("fusion", [CausalLm, HfMultimodal])
def test_all_who_ask_a_fusion_share_one_tokenizer(tmp_path: Path, fusion: type[CausalLm] | type[HfMultimodal]) -> None:
    config = fusion.tiny(tmp_path).resolved()
    text = config.processor()
    again = pickle.loads(pickle.dumps(text))
    assert config.processor().tokenizer is text.tokenizer is again.tokenizer
    copy = attrs.evolve(config, tokenizer_data=f"{config.tokenizer_data} "[:-1]).processor()
    assert copy.data is text.data, "of two sides of one model"
    mark = text.tokenizer.convert_tokens_to_ids(text.placeholder("image"))
    assert text.tokenizer(f"a{text.placeholder('image')}b")["input_ids"][1] == mark
    unpack(text.data).add_tokens(["<box>"])
    assert "<box>" not in text.tokenizer.get_vocab()
