"""Every common format of conversations and texts in one form.

`messages` is a list of {"role": "system" | "user" | "assistant" | "tool", "content": [parts]} with `weight`, `tag` and all
else that a message has; media stand under their modality (`image`, `audio`, `video`), a list of paths or bytes in the order
in which the conversation names them. A plain text stays under `text`. All other fields stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from a2a_chat.content import Found, medium, parts

MODALITIES = ("image", "audio", "video")
FORMATS = ("llava", "sharegpt", "openai", "alpaca", "text")
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
TURNS = ("messages", "conversations")
LOOKED_FOR = {
    "llava": "`conversations` of {from, value} with `image`, `video` or `audio`",
    "sharegpt": "`conversations` of {from, value}",
    "openai": "`messages` of {role, content}",
    "alpaca": "`instruction` and `output`",
    "text": "`text`",
}

Fields = dict[str, Any]


def canonical(fields: Mapping[str, Any], format: str = "auto", markers: Sequence[str] = MODALITIES) -> Fields:  # noqa: A002
    """A row's fields in the one form; what has it already comes out the same. ValueError for a row that cannot be read.

    In strings `<image>` stands for an image, for each of the `markers`; a list of parts says itself what each is.
    """
    name = format if format != "auto" and not finished(fields) else detected(fields)
    known = tuple(dict.fromkeys((*MODALITIES, *markers)))
    try:
        read = READERS[name or ""]
    except KeyError:
        raise ValueError(f"it is no conversation and no text: {nothing(fields)}") from None
    found: Found = {}
    made = read(dict(fields), lambda content: parts(content, markers, known, found))
    for modality in known:
        listed = media(made, modality)
        inside = found.get(modality, [])
        if listed and inside:
            raise ValueError(f"its media of modality `{modality}` stand in the messages, and in a field beside them too")
        if inside and len(inside) < named(made).count(modality):
            raise ValueError(f"some parts of the type `{modality}` hold their medium, and some do not")
        if listed or inside:
            made[modality] = listed or inside
    return made


def detected(fields: Mapping[str, Any]) -> str | None:
    """The format of a row; None for one that has none."""
    if isinstance(fields.get("messages"), (list, tuple)):
        return "openai"
    if isinstance(fields.get("conversations"), (list, tuple)):
        return "llava" if any(fields.get(modality) is not None for modality in MODALITIES) else "sharegpt"
    if isinstance(fields.get("instruction"), str) and isinstance(fields.get("output"), str):
        return "alpaca"
    return "text" if isinstance(fields.get("text"), (str, list)) else None


def nothing(fields: Mapping[str, Any]) -> str:
    """What was looked for, and what there is."""
    looked = ", ".join(f"{what} ({name})" for name, what in LOOKED_FOR.items())
    return f"looked for {looked}; there is {', '.join(f'`{name}`' for name in fields) or 'nothing'}"


def finished(fields: Mapping[str, Any]) -> bool:
    """The messages are in the one form already."""
    messages = fields.get("messages")
    return isinstance(messages, (list, tuple)) and all(
        isinstance(each, Mapping) and each.get("role") in ROLES.values() and isinstance(each.get("content"), (list, tuple))
        for each in messages
    )


def named(fields: Mapping[str, Any]) -> list[str]:
    """The modalities of the media that a row's conversation or text names, in order; fields are in the one form."""
    text = fields.get("text")
    spoken = [each["content"] for each in fields["messages"]] if "messages" in fields else [text]
    return [modality for said in spoken if isinstance(said, list) for modality in named_in(said)]


def named_in(said: Sequence[Mapping[str, Any]]) -> list[str]:
    """Those of a message's parts."""
    return [each["type"] for each in said if each["type"] != "text"]


Parts = Callable[[Any], list[dict[str, Any]]]


def conversation(fields: Fields, content: Parts) -> Fields:
    """OpenAI's messages, ShareGPT's and LLaVA's conversations, which differ in names alone."""
    turns = next((fields[name] for name in TURNS if isinstance(fields.get(name), (list, tuple))), None)
    if turns is None:
        raise ValueError(f"it has no conversation: {nothing(fields)}")
    messages = [numbered(number, turn, content) for number, turn in enumerate(turns, 1)]
    return {**without(fields, *TURNS), "messages": messages}


def shared(fields: Fields, content: Parts) -> Fields:
    """A conversation whose system message may stand in a field of its own."""
    made = conversation({name: fields[name] for name in fields if name != "messages" or "conversations" not in fields}, content)
    return opened(made, content)


def opened(fields: Fields, content: Parts) -> Fields:
    """The field `system` as the first message."""
    system = fields.pop("system", None)
    if not system:
        return fields
    if fields["messages"] and fields["messages"][0]["role"] == "system":
        raise ValueError("it has a field `system`, and a system message too")
    return {**fields, "messages": [{"role": "system", "content": content(system)}, *fields["messages"]]}


def numbered(number: int, turn: Any, content: Parts) -> Fields:
    """A message; what is wrong with it names its number."""
    try:
        return message(turn, content)
    except ValueError as error:
        raise ValueError(f"message {number}: {error}") from None


def message(turn: Any, content: Parts) -> Fields:
    """{"role", "content"} and what else there is, empty fields left out: a table has them in every row."""
    if not isinstance(turn, Mapping):
        raise ValueError(f"it is no object with a role and a content but {type(turn).__name__}")
    role = turn.get("role", turn.get("from"))
    if role not in ROLES:
        raise ValueError(f"nobody has the role {role!r}; known are {', '.join(ROLES)}")
    said = next((turn[name] for name in ("content", "value") if turn.get(name) is not None), None)
    more = {name: value for name, value in turn.items() if value is not None}
    return {**without(more, "role", "from", "content", "value"), "role": ROLES[role], "content": content(said)}


def alpaca(fields: Fields, content: Parts) -> Fields:
    """An instruction, its input on lines of their own below it, and the output; earlier pairs in `history`."""
    instruction, output = fields.get("instruction"), fields.get("output")
    if not isinstance(instruction, str) or not isinstance(output, str):
        raise ValueError(f"it has no instruction with its output: {nothing(fields)}")
    history = fields.get("history") or []
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in history):
        raise ValueError("its `history` is no list of pairs")
    asked = "\n".join(each for each in (instruction, fields.get("input")) if each)
    messages = [
        {"role": role, "content": content(said)}
        for pair in [*history, (asked, output)]
        for role, said in zip(("user", "assistant"), pair, strict=True)
    ]
    rest = without(fields, "instruction", "input", "output", "history", *TURNS)
    return opened({**rest, "messages": messages}, content)


def plain(fields: Fields, content: Parts) -> Fields:
    """A text that nobody says to anybody; where media stand in it, its parts."""
    if not isinstance(fields.get("text"), (str, list)):
        raise ValueError(f"it has no text: {nothing(fields)}")
    said = content(fields["text"])
    literal = isinstance(fields["text"], str) and not any(f"<{name}>" in fields["text"] for name in MODALITIES)
    return {**without(fields, *TURNS), "text": fields["text"] if literal and not named_in(said) else said}


READERS: Mapping[str, Callable[[Fields, Parts], Fields]] = {
    "llava": shared,
    "sharegpt": shared,
    "openai": conversation,
    "alpaca": alpaca,
    "text": plain,
}


def media(fields: Fields, modality: str) -> list[str | bytes]:
    """The media of a modality, taken out of the fields `image` and `images`."""
    given = {name: fields.pop(name) for name in (modality, f"{modality}s") if name in fields}
    filled = [name for name, value in given.items() if value is not None and value != []]
    if len(filled) > 1:
        raise ValueError(f"it has media in `{filled[0]}` and in `{filled[1]}`")
    value = given[filled[0]] if filled else []
    several = value if isinstance(value, (list, tuple)) else [value]
    try:
        return [medium(each) for each in several if each is not None]
    except ValueError as error:
        raise ValueError(f"field `{filled[0]}`: {error}") from None


def without(fields: Mapping[str, Any], *names: str) -> Fields:
    """All but these."""
    return {name: value for name, value in fields.items() if name not in names}


def fitting(rows: Iterable[Mapping[str, Any]]) -> str | None:
    """The format of the first row that has one."""
    return next((name for name in map(detected, rows) if name), None)
