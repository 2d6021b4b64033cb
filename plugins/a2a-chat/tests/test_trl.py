"""Labels against the assistant masks that TRL trains on, where TRL is installed."""

from pathlib import Path

import pytest

trl = pytest.importorskip("trl", reason="TRL is not installed")

TALKS = [
    ("Hi", "Hello"),
    ("Hi", "Hello", "Bye", "So long"),
    ("Who?\n\nWhat?", "\nA city.\n\n- one\n- two\n"),
    ("a" * 40, "b"),
    ("é", "日本 😀"),
    ("1", "2", "3", "4", "5", "6"),
    ("What is 1 + 1?", "1 + 1 = 2", "Sure?", "Sure."),
    ("Write HTML", "<p>text</p>\n<b>bold</b>"),
    ("assistant\nHi", "user\nHi"),
    ("Say nothing", "…", "Again", "…"),
]
FAMILIES = ["llama3", "qwen2_5", "qwen3", "gemma", "phi3"]
UNMARKED = {"llama3": 0, "gemma": 0, "qwen2_5": 1}
"""Tokens of an answer that TRL trains on, and we do not: the line break of Qwen's generation prompt."""


def template(name):
    return Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja"


def masked(tokenizer, fields, name):
    """TRL's tokenisation (its SFTTrainer's): ids and which of them are the assistant's."""
    found = tokenizer.apply_chat_template(
        fields["messages"],
        chat_template=template(f"{name}_training").read_text(),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return found["input_ids"], [bool(each) for each in found["assistant_masks"]]


@pytest.mark.parametrize("talked", TALKS, ids=range(len(TALKS)))
@pytest.mark.parametrize("name", FAMILIES)
def test_marked_templates_of_trl(chats, talk, tokenizer, name, talked):
    collate = chats(template="own", template_file=template(f"{name}_training"))
    text = collate.read(talk(*talked), image=[])
    assert (text.ids.tolist(), (text.weights > 0).tolist()) == masked(tokenizer, talk(*talked), name)


@pytest.mark.parametrize("talked", TALKS, ids=range(len(TALKS)))
@pytest.mark.parametrize("name", UNMARKED)
def test_the_models_own_templates_without_marks(chats, talk, tokenizer, name, talked):
    text = chats(template="own", template_file=template(name)).read(talk(*talked), image=[])
    ids, mask = masked(tokenizer, talk(*talked), name)
    assert text.ids.tolist() == ids
    weights = [bool(each) for each in text.weights.tolist()]
    starts = [place for place, each in enumerate(mask) if each and not mask[place - 1]]
    fewer = [place for start in starts for place in range(start, start + UNMARKED[name])]
    assert weights == [each and place not in fewer for place, each in enumerate(mask)]
    assert [tokenizer.decode(ids[place]) for place in fewer] == ["\n"] * len(fewer)
