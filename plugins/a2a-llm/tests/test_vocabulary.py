"""Tokenizers, packed and unpacked."""

from __future__ import annotations

from pathlib import Path

import pytest

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
