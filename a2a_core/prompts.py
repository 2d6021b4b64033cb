"""What a user asks, with media, as a row of a conversation or of a plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from a2a_core.recipe import Parts

PROMPT, SYSTEM = "prompt", "system"
"""Fields of a row that asks; media stand in the fields that the model's encoders read."""


def media_fields(parts: Parts) -> dict[str, list[str]]:
    """Each modality, and the row's fields in which what reads it finds its media."""
    found: dict[str, list[str]] = {}
    for key, encoder in parts.encoders.items():
        found.setdefault(encoder.modality or key, []).append(encoder.field or key)
    for medium in parts.fusion.media().values():
        found.setdefault(medium.modality or medium.field, []).append(medium.field)
    return found


def asking(
    parts: Parts, prompt: str, media: Sequence[tuple[str, str]] = (), system: str | None = None, raw: bool = False
) -> dict[str, Any]:
    """The fields of a row that asks; `media` are modalities and files, in order.

    A medium stands where the prompt has its mark, `<image>`; those of a modality without any before it, in their order.
    `raw` is a plain text to go on with, else there are messages, whose contents are lists of parts. ValueError where the
    model does not read a modality, or has another number of marks than media.
    """
    fields = media_fields(parts)
    for modality in dict.fromkeys(modality for modality, _ in media):
        if modality not in fields:
            raise ValueError(f"the model reads no {modality}; it reads {', '.join(['text', *fields])}")
    pieces = re.split(f"<({'|'.join(map(re.escape, fields))})>", prompt) if fields else [prompt]
    marks = pieces[1::2]
    given = [modality for modality, _ in media]
    for modality in dict.fromkeys(marks):
        if marks.count(modality) != given.count(modality):
            raise ValueError(
                f"the prompt has {marks.count(modality)} `<{modality}>`, and {given.count(modality)} of {modality} are given"
            )
    content: list[dict[str, str]] = [{"type": modality} for modality in given if modality not in marks]
    for place, piece in enumerate(pieces):
        if place % 2:
            content.append({"type": piece})
        elif piece:
            content.append({"type": "text", "text": piece})
    listed = {field: [file for each, file in media if each == modality] for modality in given for field in fields[modality]}
    if raw:
        return {**listed, "text": content if marks or given else prompt}
    opening = [{"role": SYSTEM, "content": [{"type": "text", "text": system}]}] if system else []
    return {**listed, "messages": [*opening, {"role": "user", "content": content}]}


def from_row(parts: Parts, fields: Mapping[str, Any], system: str | None = None, raw: bool = False) -> Mapping[str, Any]:
    """A row's fields with its `prompt` as a conversation or a text; one without a prompt is either already."""
    if not isinstance(fields.get(PROMPT), str):
        return fields
    own = fields.get(SYSTEM)
    media = [(modality, file) for modality, names in media_fields(parts).items() for file in files(fields, [*names, modality])]
    return {**fields, **asking(parts, fields[PROMPT], media, own if isinstance(own, str) else system, raw)}


def files(fields: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """What stands in the first of some fields that has anything: one medium, or a list of them."""
    value: Any = next((fields[name] for name in names if fields.get(name) is not None), [])
    return list(value) if isinstance(value, (list, tuple)) else [value]
