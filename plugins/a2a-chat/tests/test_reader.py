import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_chat.template import SHIPPED
from a2a_core.errors import A2AError, LeftOut, Unwanted

TALK = ("Who is this?", "They are here 😀", "What are they doing?", "An answer.\n\nAnd the city")
CHATML = """{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
FORGETFUL = """{% for m in messages %}{{ m.role + ': ' + (m.content if loop.last else '…') + eos_token }}{% endfor %}\
{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"""
LLAMA_2 = """{% set ns = namespace(sys='') %}{% for m in messages %}{% if m.role == 'system' %}{% set ns.sys = m.content %}\
{% elif m.role == 'user' %}{{ bos_token + '[INST] ' + ns.sys + m.content + ' [/INST]' }}{% set ns.sys = '' %}\
{% else %}{% generation %}{{ ' ' + m.content + eos_token }}{% endgeneration %}{% endif %}{% endfor %}"""


def supervised(text, tokenizer):
    """Runs of supervised tokens, decoded."""
    found, last = [], -2
    for place in (text.weights > 0).nonzero()[:, 0].tolist():
        if place != last + 1:
            found.append([])
        found[-1].append(int(text.ids[place]))
        last = place
    return [tokenizer.decode(each) for each in found]


def own(new_tokenizer, template):
    made = new_tokenizer()
    made.chat_template = template
    return made


def test_the_answers_and_their_ends_are_supervised(chats, talk, tokenizer):
    text = chats().read(talk(*TALK), image=[])
    assert supervised(text, tokenizer) == ["They are here 😀<|im_end|>", "An answer.\n\nAnd the city<|im_end|>"]
    assert text.ids.dtype == torch.int64
    assert text.weights.dtype == torch.float32


@pytest.mark.parametrize("name", SHIPPED)
def test_ids_and_labels_are_those_of_transformers(chats, talk, tokenizer, name):
    collate = chats(template=name)
    source = collate.collate.read.template.source
    for talked in (TALK[:2], TALK, (*TALK, "…"), ("é" * 3, "日本"), ("1\n", "\n2\n\n", "3", "  4")):
        for system in ("", "The city."):
            fields = talk(*talked, system=system)
            text = collate.read(fields, image=[])
            wanted = tokenizer.apply_chat_template(
                fields["messages"], chat_template=source, return_dict=True, return_assistant_tokens_mask=True
            )
            assert text.ids.tolist() == wanted["input_ids"]
            assert (text.weights > 0).tolist() == [bool(each) for each in wanted["assistant_masks"]]


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=80, deadline=None)
@given(
    texts=st.lists(words, min_size=2, max_size=5),
    system=st.just("") | words,
    name=st.sampled_from(SHIPPED),
    pieces=st.booleans(),
)
def test_any_conversation_has_the_ids_and_labels_of_transformers(
    chats, talk, tokenizer, sentences, texts, system, name, pieces
):
    chosen = sentences if pieces else tokenizer
    collate = chats(template=name, tokenizer=chosen)
    fields = talk(*texts, system=system)
    text = collate.read(fields, image=[])
    source = collate.collate.read.template.source
    wanted = chosen.apply_chat_template(
        fields["messages"], chat_template=source, return_dict=True, return_assistant_tokens_mask=True
    )
    assert text.ids.tolist() == wanted["input_ids"]
    assert (text.weights > 0).tolist() == [bool(each) for each in wanted["assistant_masks"]]


@pytest.mark.parametrize("train_on", ["assistant", "last", "all"])
def test_train_on(chats, talk, tokenizer, train_on):
    text = chats(train_on=train_on).read(talk(*TALK), image=[])
    found = supervised(text, tokenizer)
    assert len(found) == {"assistant": 2, "last": 1, "all": 1}[train_on]
    assert found[-1].endswith("<|im_end|>\n" if train_on == "all" else "<|im_end|>")
    if train_on == "all":
        assert bool((text.weights == 1).all())


def test_weights_and_tags(chats, talk):
    fields = talk(*TALK)
    fields["messages"][1] |= {"weight": 0.25, "tag": "teacher"}
    fields["messages"][3]["weight"] = 0
    text = chats().read(fields, image=[])
    assert [(each.role, each.tag) for each in text.spans] == [
        ("user", ""),
        ("assistant", "teacher"),
        ("user", ""),
        ("assistant", ""),
    ]
    first = text.spans[1]
    assert set(text.weights[first.start : first.end].tolist()) == {0.25}
    assert float(text.weights.sum()) == 0.25 * (first.end - first.start)


def test_nothing_to_learn_is_an_error(chats, talk):
    fields = talk(*TALK)
    fields["messages"][3]["weight"] = 0
    with pytest.raises(ValueError, match='nothing to learn from it with `train_on = "last"`'):
        chats(train_on="last").read(fields, image=[])
    with pytest.raises(ValueError, match="nothing to learn"):
        chats().read(talk("Who?"), image=[])
    with pytest.raises(ValueError, match="nothing to learn"):
        chats(template="plain", eos=False).read({"text": "a"}, image=[])


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, "1", True])
def test_a_weight_is_a_number(chats, talk, weight):
    fields = talk(*TALK)
    fields["messages"][1]["weight"] = weight
    with pytest.raises(ValueError, match="message 2: its weight must be a number >= 0"):
        chats().read(fields, image=[])


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ("au", "message 1: the assistant speaks at the beginning, where system or user is expected"),
        ("uu", "message 2: the user speaks after the user, where assistant is expected"),
        ("uaa", "message 3: the assistant speaks after the assistant"),
        ("sa", "message 2: the assistant speaks after the system"),
        ("usa", "message 2: the system speaks after the user"),
        ("t", "message 1: the tool speaks at the beginning"),
        ("", "no messages"),
    ],
)
def test_messages_out_of_order_are_refused(chats, roles, message):
    names = {"a": "assistant", "u": "user", "s": "system", "t": "tool"}
    with pytest.raises(ValueError, match=message):
        chats().read({"messages": [{"role": names[each], "content": "x"} for each in roles]}, image=[])


@pytest.mark.parametrize("answer", ["", " \n", None, []])
def test_an_empty_answer_is_refused(chats, talk, answer):
    with pytest.raises(ValueError, match="message 2: the assistant's answer is empty"):
        chats().read(talk("Who?", answer), image=[])


def test_a_tokenizer_whose_pad_is_its_end_learns_to_end(chats, new_tokenizer, talk):
    tokenizer = new_tokenizer(pad_token="</s>")
    collate = chats(tokenizer=tokenizer, template="plain")
    batch = collate([collate.sample(talk("Who?", "This."), image=[])])
    assert int(batch["targets"]["lm"]["labels"][-1]) == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert batch["targets"]["lm"]["weights"].tolist()[-1] == 1


def test_a_template_without_marks_that_only_adds(chats, tokenizer, new_tokenizer, talk):
    mine = own(new_tokenizer, CHATML)
    text = chats(tokenizer=mine, template="own").read(talk(*TALK), image=[])
    assert supervised(text, tokenizer) == ["They are here 😀<|im_end|>\n", "An answer.\n\nAnd the city<|im_end|>\n"]
    assert text.ids.tolist() == chats().read(talk(*TALK), image=[]).ids.tolist()


def test_a_template_without_marks_that_rewrites_is_refused(chats, new_tokenizer, talk):
    collate = chats(tokenizer=own(new_tokenizer, FORGETFUL), template="own")
    with pytest.raises(ValueError, match="no {% generation %} marks, and rewrites .* message 2") as caught:
        collate.read(talk(*TALK), image=[])
    assert all(name in str(caught.value) for name in SHIPPED)


def test_a_system_message_that_is_written_into_the_users_shares_its_span(chats, new_tokenizer, talk):
    collate = chats(tokenizer=own(new_tokenizer, LLAMA_2), template="own")
    fields = talk(*TALK, system="Be.")
    assert [each.role for each in collate.read(fields, image=[]).spans] == ["user", "assistant", "user", "assistant"]
    fields["messages"][0]["weight"] = 0
    with pytest.raises(ValueError, match="messages 1 and 2 have different weights or tags"):
        collate.read(fields, image=[])


def test_a_token_at_the_border_is_the_answers(chats, talk, tokenizer):
    text = chats(template="llama-3", train_on="assistant").read(talk("Who?", "x\ny"), image=[])
    assert supervised(text, tokenizer) == ["x\ny<|eot_id|>"]


def test_plain_texts_end(chats, tokenizer):
    text = chats().read({"text": "in the city"}, image=[])
    assert text.ids.tolist() == [*tokenizer("in the city")["input_ids"], tokenizer.eos_token_id]
    assert bool((text.weights == 1).all())
    assert [tuple(each) for each in text.spans] == [(0, text.length, "text", "")]
    assert chats(eos=False).read({"text": "in the city"}, image=[]).length == text.length - 1


def test_a_plain_text_with_a_medium(chats, tokenizer):
    text = chats().read({"text": "<image> in the city", "image": "a.png"}, image=[4])
    assert text.media["image"].tolist() == [0, 1, 2, 3]
    assert text.weights.tolist() == [0.0] * 4 + [1.0] * (text.length - 4)


def test_a_tokenizer_without_an_end(chats, new_tokenizer):
    tokenizer = new_tokenizer(eos_token=None)
    with pytest.raises(ValueError, match="no end-of-text token: set `eos = false`"):
        chats(tokenizer=tokenizer).read({"text": "in the city"}, image=[])
    assert chats(tokenizer=tokenizer, eos=False).read({"text": "in the city"}, image=[]).length


def test_an_unreadable_row_says_why(chats):
    with pytest.raises(ValueError, match="because"):
        chats().read({"unreadable": "because", "messages": []}, image=[])


def test_too_long(chats, talk):
    length = chats().read(talk(*TALK), image=[]).length
    assert chats(max_length=length).read(talk(*TALK), image=[]).length == length
    with pytest.raises(LeftOut, match=f"it has {length} tokens, and at the most {length - 1} are allowed"):
        chats(max_length=length - 1).read(talk(*TALK), image=[])
    with pytest.raises(Unwanted, match="are allowed"):
        chats(max_length=length - 1, too_long="error").read(talk(*TALK), image=[])
    with pytest.raises(ValueError, match="at the most 20 are"):
        chats(fusion=20).read(talk(*TALK), image=[])
    with pytest.raises(A2AError, match="`collator.max_length` = 30, and the fusion has positions for 20"):
        chats(fusion=20, max_length=30)


@pytest.mark.parametrize("name", SHIPPED)
def test_prediction_reads_up_to_the_answer(chats, talk, tokenizer, name):
    collate = chats(targets={}, template=name)
    source = collate.collate.read.template.source
    wanted = tokenizer.apply_chat_template(
        talk(*TALK[:3])["messages"], chat_template=source, add_generation_prompt=True, return_dict=False
    )
    for fields in (talk(*TALK), talk(*TALK[:3])):
        text = collate.read(fields, image=[])
        assert text.ids.tolist() == wanted
        assert not text.weights.any()


def test_prediction_goes_on_with_a_plain_text(chats, tokenizer):
    assert chats(targets={}).read({"text": "in the"}, image=[]).ids.tolist() == tokenizer("in the")["input_ids"]


def test_prediction_of_an_answer_with_media_is_refused(chats):
    fields = {"messages": [{"role": "user", "content": "Draw."}, {"role": "assistant", "content": "<image>"}], "image": ["a"]}
    with pytest.raises(ValueError, match="the answer that is to be predicted holds media"):
        chats(targets={}).read(fields, image=[2])


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(words, min_size=2, max_size=5),
    system=st.just("") | words,
    name=st.sampled_from(SHIPPED),
    train_on=st.sampled_from(["assistant", "all", "last"]),
)
def test_spans_are_all_of_a_text(chats, talk, tokenizer, texts, system, name, train_on):
    text = chats(template=name, train_on=train_on).read(talk(*texts, system=system), image=[])
    ends = [each.end for each in text.spans]
    assert [each.start for each in text.spans] == [0, *ends[:-1]]
    assert ends[-1] == text.length
    roles = [each.role for each in text.spans]
    assert roles == (["system"] * (bool(system) and name != "gemma") + ["user", "assistant"] * 3)[: len(roles)]
    assert len(roles) == len(texts) + (bool(system) and name != "gemma")
    if train_on != "all":
        learned = {place for each in text.spans if each.role == "assistant" for place in range(each.start, each.end)}
        assert set((text.weights > 0).nonzero()[:, 0].tolist()) <= learned


def test_rows_of_json_stay_as_they_are(chats, talk):
    fields = talk(*TALK)
    before = json.dumps(fields)
    chats().read(fields, image=[])
    assert json.dumps(fields) == before
