"""A conversation's turns: in which order they may come, and which characters of the rendered text are whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from a2a_chat.template import SHIPPED, Messages, Rendered, Template


class Stretch(NamedTuple):
    """Characters `start` to `end` of a text; together a text's stretches are all of it."""

    start: int
    end: int
    role: str
    tag: str = ""
    weight: float = 1.0
    answered: int = 0
    """An answer ends here, for which the model is to write it; what follows up to `end` it is not. 0: no answer."""


AFTER = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
"""Who may speak after whom. Users in a row, or an assistant who begins, are what a broken conversion leaves behind."""


def refuse_disorder(messages: Messages) -> None:
    """ValueError that names the message, for a conversation that is none."""
    if not messages:
        raise ValueError("the conversation has no messages")
    before = ""
    for number, each in enumerate(messages, 1):
        role = each["role"]
        if role not in AFTER[before]:
            after = f"after the {before}" if before else "at the beginning"
            expected = " or ".join(AFTER[before])
            raise ValueError(f"message {number}: the {role} speaks {after}, where {expected} is expected")
        if role == "assistant" and not each.get("tool_calls") and not says_anything(each["content"]):
            raise ValueError(f"message {number}: the assistant's answer is empty")
        weight_of(number, each)
        before = role


def says_anything(content: Sequence[Mapping[str, Any]]) -> bool:
    """It has a medium, or a text that is not blank."""
    return any(each["type"] != "text" or each["text"].strip() for each in content)


def weight_of(number: int, message: Mapping[str, Any]) -> float:
    """How much a message counts, 1 where it does not say."""
    weight = message.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < float("inf"):
        raise ValueError(f"message {number}: its weight must be a number >= 0, got {weight!r}")
    return float(weight)


def asked(messages: Messages) -> Messages:
    """What stands before the answer that is to be predicted, which is left out where there is one."""
    last = max((n for n, each in enumerate(messages, 1) if each["role"] in ("user", "tool")), default=0)
    return messages[:last]


def stretches(template: Template, messages: Messages, rendered: Rendered, tools: Any = None) -> list[Stretch]:
    """Whose each character is, exactly: by the template's marks, else by what each answer adds to the text before it.

    An answer is what the model is to write, with what ends it; how it is announced belongs to the message before.
    A system message that the template writes into the user's shares a stretch with it.
    """
    numbers = [n for n, each in enumerate(messages) if each["role"] == "assistant"]
    if template.marked:
        found = rendered.marks
        if len(found) != len(numbers):
            raise ValueError(f"the template {template.name} marks {len(found)} answers of {len(numbers)}")
    else:
        found = [added(template, messages, n, rendered.text, tools) for n in numbers]
    made: list[Stretch] = []
    last = 0
    for begin, number, (start, end) in zip([0, *(n + 1 for n in numbers)], numbers, found, strict=False):
        made += between(template, messages, begin, number, (last, start), rendered.text, tools)
        made.append(stretch(messages, number, start, end, end))
        last = end
    size = len(rendered.text)
    rest = numbers[-1] + 1 if numbers else 0
    if rest < len(messages):
        return made + between(template, messages, rest, len(messages), (last, size), rendered.text, tools)
    return [*made[:-1], made[-1]._replace(end=size)]


def stretch(messages: Messages, number: int, start: int, end: int, answered: int = 0) -> Stretch:
    """A message's."""
    message = messages[number]
    return Stretch(start, end, message["role"], str(message.get("tag", "")), weight_of(number + 1, message), answered)


def added(template: Template, messages: Messages, number: int, text: str, tools: Any) -> tuple[int, int]:
    """Where an answer stands in the text of all messages, for a template without marks."""
    before = template.render(messages[:number], prompt=True, tools=tools).text
    after = template.render(messages[: number + 1], tools=tools).text
    if not after.startswith(before) or not text.startswith(after) or len(after) == len(before):
        raise ValueError(
            f"the template {template.name} has no {{% generation %}} marks, and rewrites what stands before message "
            f"{number + 1}, so that it cannot be told which tokens are the answer's; these have marks: {', '.join(SHIPPED)}"
        )
    return len(before), len(after)


def between(
    template: Template, messages: Messages, begin: int, end: int, place: tuple[int, int], text: str, tools: Any
) -> list[Stretch]:
    """The messages from `begin` to `end` (not included), none of them an answer, in the characters that they have."""
    cuts = [place[0], *(cut(template, messages[:n], place, text, tools) for n in range(begin + 1, end)), place[1]]
    made: list[Stretch] = []
    start = place[0]
    for number, (_, upto) in zip(range(begin, end), pairwise(cuts), strict=True):
        if upto is None:  # this message and the next share their characters
            refuse_unlike(messages, number)
            continue
        made.append(stretch(messages, number, start, upto))
        start = upto
    return made


def cut(template: Template, messages: Messages, place: tuple[int, int], text: str, tools: Any) -> int | None:
    """Where the last of these messages ends in the text of all; None where that cannot be told."""
    before, part = (alone(template, each, tools) for each in (messages[:-1], messages))
    told = part is not None and part != before and text.startswith(part) and place[0] < len(part) < place[1]
    return len(part) if part is not None and told else None


def alone(template: Template, messages: Messages, tools: Any) -> str | None:
    """The text of the first messages; None where the template wants more: many want a user's."""
    try:
        return template.render(messages, tools=tools).text
    except ValueError:
        return None


def refuse_unlike(messages: Messages, number: int) -> None:
    """ValueError where two messages that cannot be told apart are to be treated differently."""
    one, other = (stretch(messages, n, 0, 0) for n in (number, number + 1))
    if (one.tag, one.weight) != (other.tag, other.weight):
        raise ValueError(
            f"messages {number + 1} and {number + 2} have different weights or tags, and the template writes them as one"
        )
