"""What a message says, as a list of parts: texts, and the places of media, which are taken out of it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

Part = dict[str, Any]
"""{"type": "text", "text": …}, or {"type": <modality>} where a medium stands."""
Found = dict[str, list[str | bytes]]
"""Modality -> media, in order."""


def parts(content: Any, markers: Sequence[str], known: Sequence[str], found: Found) -> list[Part]:
    """A message's content; media that stand in it go to `found`. ValueError for what is none.

    In a string `<image>` stands for an image, for each of the `markers`; in a list texts are what they are, and `known` are
    the modalities that a part may be of.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return marked(content, markers)
    if not isinstance(content, (list, tuple)):
        raise ValueError(f"its content is neither a text nor a list of parts but {type(content).__name__}")
    return [each for raw in content for each in part(raw, known, found)]


def marked(text: str, markers: Sequence[str]) -> list[Part]:
    """A string, cut at its markers."""
    if not markers:
        return written(text)
    pieces = re.split(f"<({'|'.join(map(re.escape, markers))})>", text)
    return [each for n, piece in enumerate(pieces) for each in ([{"type": piece}] if n % 2 else written(piece))]


def written(text: str) -> list[Part]:
    """A text as a part, where there is one."""
    return [{"type": "text", "text": text}] if text else []


def part(raw: Any, known: Sequence[str], found: Found) -> list[Part]:
    """A part of any dialect: OpenAI's `image_url` and `input_audio`, Hugging Face's `image` with or without the medium."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"a part of its content is no object with a `type` but {type(raw).__name__}")
    kind = str(raw.get("type"))
    if kind == "text":
        if not isinstance(raw.get("text"), str):
            raise ValueError("a part of its content has the type `text`, and no text")
        return written(raw["text"])
    modality = kind.removeprefix("input_").removesuffix("_url")
    if modality not in known:
        raise ValueError(f"a part of its content has the type `{kind}`; known are text, {', '.join(known)}")
    for name in (kind, modality, "path", "url", "bytes", "base64", "data"):
        if raw.get(name) is not None:
            found.setdefault(modality, []).append(medium(raw[name], encoded=name in ("base64", "data")))
            break
    return [{"type": modality}]


def medium(value: Any, encoded: bool = False) -> str | bytes:
    """A medium as a path or as bytes; ValueError for an address in the net, or what is no medium."""
    if isinstance(value, Mapping):
        given = [name for name in ("bytes", "data", "base64", "url", "path") if value.get(name) is not None]
        if not given:
            raise ValueError(f"a medium has none of bytes, data, url and path but {', '.join(map(str, value)) or 'nothing'}")
        return medium(value[given[0]], encoded=given[0] in ("data", "base64"))
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError(f"a medium is neither a path nor bytes but {type(value).__name__}")
    if value.startswith("data:"):
        head, _, body = value.partition(",")
        if not head.endswith(";base64"):
            raise ValueError(f"a medium stands in the row in another way than base64: {head[:60]}")
        return decoded(body)
    if encoded:
        return decoded(value)
    if re.match(r"[a-z][a-z0-9+.-]*://", value, re.IGNORECASE):
        address = urlsplit(value)
        if address.scheme.lower() != "file":
            raise ValueError(f"a medium lies in the net, where nothing is fetched from: {value[:80]}")
        return unquote(address.path)
    return value


def decoded(text: str) -> bytes:
    """Bytes that were written as base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"a medium's base64 is broken: {error}") from None
