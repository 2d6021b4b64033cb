"""Chat templates: conversations to text, by transformers' own sandboxed renderer, and which characters are an answer's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import TemplateError, TemplateSyntaxError
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from a2a_chat.collator import TODAY
from a2a_core.errors import A2AError, Origin, Problem

Messages = Sequence[Mapping[str, Any]]
SHIPPED = tuple(sorted(each.name.removesuffix(".jinja") for each in files("a2a_chat").joinpath("templates").iterdir()))
WRITE_ONE = f"name one that is shipped ({', '.join(SHIPPED)}) with `template`, or one of your own with `template_file`"


class Rendered(NamedTuple):
    """A text, and the characters of it that stand between `{% generation %}` and `{% endgeneration %}`, from and to."""

    text: str
    marks: list[tuple[int, int]]


class Template:
    """A template with the tokenizer's special tokens. `name` is for messages; with `parts` contents are lists of parts.

    One that asks for the time is told `today`, at midnight, whatever the clock says.
    """

    def __init__(self, name: str, source: str, tokenizer: Any, parts: bool = False, today: date = TODAY) -> None:
        self.name, self.source, self.parts, self.today = name, source, parts, today
        self.special = dict(tokenizer.special_tokens_map)
        self.marked = re.search(r"\{%-?\s*generation\s*-?%\}", source) is not None

    def render(self, messages: Messages, prompt: bool = False, tools: Any = None) -> Rendered:
        """The text; with `prompt` up to where the assistant's next answer begins. ValueError where it cannot express them."""
        self.refuse_unheard(messages, tools)
        given = [{name: value for name, value in each.items() if name not in ("weight", "tag")} for each in messages]
        try:
            with stopped(self.source, self.today):
                rendered: Any = render_jinja_template(
                    conversations=[given],
                    tools=tools,
                    chat_template=self.source,
                    return_assistant_tokens_mask=self.marked,
                    add_generation_prompt=prompt,
                    **self.special,
                )
        except TemplateSyntaxError:
            raise
        except (TemplateError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"the template {self.name} cannot express it: {error}") from None
        (text,), marks = rendered
        return Rendered(text, joined(marks[0]) if marks else [])

    def refuse_unheard(self, messages: Messages, tools: Any) -> None:
        """ValueError for what the template would leave out without a word."""
        said = {"tools"} if tools else set()
        said |= {"tool_calls"} if any(each.get("tool_calls") for each in messages) else set()
        for name in sorted(said):
            if name not in self.source:
                raise ValueError(f"it has `{name}`, for which the template {self.name} has no place")


@contextmanager
def stopped(source: str, today: date) -> Iterator[None]:
    """A clock that stands still for a template: the renderer's own would put another text into every day's run.

    The renderer takes no functions, but keeps what it has compiled, where a template's globals go before its own.
    """
    known: Any = _compile_jinja_template(source).globals
    known["strftime_now"] = today.strftime
    try:
        yield
    finally:
        del known["strftime_now"]


def joined(marks: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Marks, those that follow one another without a break as one: an answer may be marked piece by piece."""
    found: list[tuple[int, int]] = []
    for start, end in marks:
        begin = found.pop()[0] if found and found[-1][1] == start else start
        found.append((begin, end))
    return found


def chosen(name: str, file: Path | None, tokenizer: Any, parts: bool = False, today: date = TODAY) -> Template:
    """The template that a recipe names; A2AError for one that is not there, is none, or teaches no answer to end."""
    if file is not None:
        made = Template(file.name, read(file), tokenizer, parts, today)
    elif name == "own":
        made = Template("of the tokenizer", own(tokenizer), tokenizer, parts, today)
    else:
        text = files("a2a_chat").joinpath("templates", f"{name}.jinja").read_text("utf-8")
        made = Template(f"`{name}`", text, tokenizer)
        refuse_endless(made, tokenizer)
    refuse_broken(made, file)
    return made


def read(file: Path) -> str:
    """A template's text."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise A2AError(f"the template {file} cannot be read: {error}") from None


def own(tokenizer: Any) -> str:
    """The tokenizer's; A2AError where it has none."""
    try:
        found: str = tokenizer.get_chat_template()
    except ValueError:
        raise A2AError("the tokenizer has no chat template", hint=WRITE_ONE) from None
    return found


QUESTION, ANSWER = "How?", "So."


def answered(template: Template) -> str | None:
    """An answer as the template has the model write it, with what ends it; None where it wants more than a text to show it."""
    probe = [
        {"role": role, "content": [{"type": "text", "text": said}] if template.parts else said}
        for role, said in (("user", QUESTION), ("assistant", ANSWER))
    ]
    try:
        text, marks = template.render(probe)
        if template.marked:
            return text[slice(*marks[0])] if marks else None
        before = template.render(probe[:1], prompt=True).text
    except ValueError:
        return None
    return text[len(before) :] if text.startswith(before) else None


def ending(template: Template, tokenizer: Any) -> list[int]:
    """The token that ends an answer; none where it is not one token, or cannot be told."""
    said = (answered(template) or "").strip()
    end = said.removeprefix(ANSWER)
    ids: list[int] = tokenizer(end, add_special_tokens=False)["input_ids"] if end != said else []
    return ids if len(ids) == 1 else []


def refuse_broken(template: Template, file: Path | None) -> None:
    """A2AError for a template that is no jinja, or whose marks leave out what ends an answer."""
    try:
        said = answered(template)
    except TemplateSyntaxError as error:
        where = Origin(str(file or template.name), template.source.splitlines()[error.lineno - 1], error.lineno)
        raise A2AError([Problem(f"the template {template.name} is no jinja: {error.message}", where)]) from None
    if template.marked and said is not None and said.strip() == ANSWER:
        raise A2AError(
            f"in the template {template.name} `{{% generation %}}` holds an answer without what ends it: "
            "the model would never learn to stop",
            hint=f"move `{{% endgeneration %}}` behind the token that ends the assistant's turn, or {WRITE_ONE}",
        )


def refuse_endless(template: Template, tokenizer: Any) -> None:
    """A2AError where what ends an answer is no token: nothing would stop the model then."""
    if ending(template, tokenizer):
        return
    end = (answered(template) or "").strip().removeprefix(ANSWER)
    what = f"`{end}`, which is no token of the tokenizer" if end else "the end-of-text token, and the tokenizer has none"
    raise A2AError(
        f"the template {template.name} ends an answer with {what}",
        hint=(
            "choose a template that the tokenizer knows (`plain` and `vicuna` end answers with its end of text), "
            "or add the tokens: `fusion.extra_tokens`"
        ),
    )
