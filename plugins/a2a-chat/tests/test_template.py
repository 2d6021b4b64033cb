"""Each shipped template against its documented format, written out by hand."""

from typing import Literal, get_args

import pytest

from a2a_chat.collator import ChatCollator
from a2a_chat.template import SHIPPED, Template, chosen
from a2a_core.errors import A2AError

TALK = [("user", "Hi"), ("assistant", " Hello\n"), ("user", "Bye"), ("assistant", "So long")]
VICUNA = (
    "<s>A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. "
)
WRITTEN = {
    "chatml": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[ Hello\n<|im_end|>]\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n[So long<|im_end|>]\n",
    "qwen2": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n[ Hello\n<|im_end|>]\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n[So long<|im_end|>]\n",
    "llama-3": "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[Hello<|eot_id|>]"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n[So long<|eot_id|>]",
    "gemma": "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n[Hello<end_of_turn>]\n"
    "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n[So long<end_of_turn>]\n",
    "vicuna": VICUNA + "USER: Hi ASSISTANT:[  Hello\n</s>]USER: Bye ASSISTANT:[ So long</s>]",
    "plain": "<s>Hi\n[ Hello\n</s>]Bye\n[So long</s>]",
}
PROMPTS = {
    "chatml": "<|im_start|>assistant\n",
    "qwen2": "<|im_start|>assistant\n",
    "llama-3": "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<start_of_turn>model\n",
    "vicuna": "ASSISTANT:",
    "plain": "",
}
SYSTEM = {
    "chatml": "<|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n",
    "qwen2": "<|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n",
    "llama-3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>",
    "gemma": "<s><start_of_turn>user\nBe.\n\nHi<end_of_turn>\n",
    "vicuna": "<s>Be. USER: Hi ",
    "plain": "<s>Be.\nHi\n",
}


def messages(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


def bracketed(rendered):
    text = rendered.text
    for start, end in reversed(rendered.marks):
        text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
    return text


def test_every_shipped_template_can_be_named():
    assert set(WRITTEN) == set(SHIPPED)
    assert get_args(eval(ChatCollator.__annotations__["template"], {"Literal": Literal})) == ("own", *SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_template_writes_what_is_documented(name, tokenizer):
    template = chosen(name, None, tokenizer)
    assert bracketed(template.render(messages(*TALK))) == WRITTEN[name]
    assert template.render(messages(("system", "Be."), TALK[0])).text == SYSTEM[name]
    before = template.render(messages(*TALK[:3]))
    assert template.render(messages(*TALK[:3]), prompt=True).text == before.text + PROMPTS[name]


@pytest.mark.parametrize("name", ["gemma", "llama-3", "qwen2", "vicuna"])
def test_a_role_that_a_template_lacks_is_an_error(name, tokenizer):
    template = chosen(name, None, tokenizer)
    with pytest.raises(ValueError, match=f"the template `{name}` cannot express it: it has no role tool"):
        template.render(messages(*TALK[:2], ("tool", "42")))


def test_tools_are_not_left_out_in_silence(tokenizer):
    template = chosen("chatml", None, tokenizer)
    with pytest.raises(ValueError, match="has `tools`, for which the template `chatml` has no place"):
        template.render(messages(*TALK), tools=[{"name": "add"}])
    with pytest.raises(ValueError, match="it has `tool_calls`"):
        template.render([*messages(TALK[0]), {"role": "assistant", "content": "", "tool_calls": [{}]}])
    listing = Template("own", "{{ tools[0].name }}: {% for m in messages %}{{ m.content }}{% endfor %}", tokenizer)
    assert listing.render(messages(TALK[0]), tools=[{"name": "add"}]).text == "add: Hi"


def test_a_tokenizer_without_the_templates_end_of_turn_is_refused(new_tokenizer):
    bare = new_tokenizer(eos_token=None)
    with pytest.raises(A2AError, match="`plain` ends an answer with the end-of-text token, and the tokenizer has none"):
        chosen("plain", None, bare)
    backend = bare.backend_tokenizer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = Tokenizer(models.BPE(vocab={each: n for n, each in enumerate(pre_tokenizers.ByteLevel.alphabet())}, merges=[]))
    letters.pre_tokenizer = backend.pre_tokenizer
    with pytest.raises(A2AError) as caught:
        chosen("chatml", None, PreTrainedTokenizerFast(tokenizer_object=letters))
    assert "`chatml` ends an answer with `<|im_end|>`, which is no token of the tokenizer" in str(caught.value)
    assert "`plain` and `vicuna`" in str(caught.value)


def test_a_template_of_ones_own(tokenizer, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text(
        "{% for m in messages %}\n{{ m.role }}:\n{% generation %}\n{{ m.content }}{{ eos_token }}{% endgeneration %}\n{% endfor %}"
    )
    template = chosen("own", path, tokenizer)
    assert template.render(messages(TALK[0])).text == "user:\nHi</s>"


def test_an_answer_may_be_marked_piece_by_piece(tokenizer):
    source = """{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}\
{% generation %}{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"""
    assert bracketed(Template("own", source, tokenizer).render(messages(*TALK))) == "Hi[ Hello\n</s>]Bye[So long</s>]"


ENDLESS = """{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}\
{% else %}{{ m.content }}{% endif %}{{ eos_token }}{% endfor %}"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{% for m in messages %}\n{{ m.content }", r"mine.jinja is no jinja: .*\n *--> .*mine.jinja:2"),
        (ENDLESS, "holds an answer without what ends it"),
    ],
)
def test_a_template_that_is_wrong_is_refused(tokenizer, tmp_path, text, message):
    path = tmp_path / "mine.jinja"
    path.write_text(text)
    with pytest.raises(A2AError, match=message):
        chosen("own", path, tokenizer)


def test_a_tokenizer_without_a_template(tokenizer, chats, talk):
    with pytest.raises(A2AError, match="the tokenizer has no chat template") as caught:
        chosen("own", None, tokenizer)
    assert all(name in str(caught.value) for name in SHIPPED)
    collate = chats(template="own")
    assert collate.read({"text": "plain texts do without"}, image=[]).length > 3
    with pytest.raises(ValueError, match="no chat template: name one that is shipped"):
        collate.read(talk("Hi", "Hello"), image=[])


DATED = """{% macro header() %}{% if strftime_now is defined %}{{ strftime_now("%d %b %Y %H:%M") }}{% endif %}{% endmacro %}\
{{ header() }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"""


@pytest.mark.parametrize(("options", "written"), [({}, "26 Jul 2024 00:00"), ({"date": "2026-01-31"}, "31 Jan 2026 00:00")])
def test_todays_date_is_the_recipes(chats, talk, tokenizer, tmp_path, options, written):
    path = tmp_path / "dated.jinja"
    path.write_text(DATED)
    text = chats(template="own", template_file=path, **options).read(talk("Hi", "Hello"), image=[])
    assert tokenizer.decode(text.ids) == f"{written}Hi</s>Hello</s>"
    assert written not in tokenizer.apply_chat_template(messages(TALK[0]), chat_template=DATED, tokenize=False), (
        "others have the clock"
    )


@pytest.mark.parametrize("day", ["today", "31.01.2026", "2026-02-30", ""])
def test_a_date_that_is_none_is_refused(day):
    with pytest.raises(ValueError, match=f'`date` = "{day}" is no day: write one as "2024-07-26"'):
        ChatCollator(date=day)


def test_code_in_a_template_is_sandboxed(tokenizer):
    template = Template("own", "{{ messages.__class__.__mro__ }}", tokenizer)
    with pytest.raises(ValueError, match="cannot express it"):
        template.render(messages(TALK[0]))
