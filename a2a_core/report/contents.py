"""What rows hold, as a page shows it: texts shortened, pictures small and inside the page, sounds and videos beside it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import quote

from a2a_core.report.sections import Held, Ranking
from a2a_core.streams import all_of
from a2a_core.structures import Medium, Row

if TYPE_CHECKING:
    from a2a_core.components import Rows
    from a2a_core.streams import Stream

LONGEST, LARGEST = 400, 192
"""Characters of a text, and pixels of a picture."""


class Content(NamedTuple):
    """One medium on a page."""

    kind: Literal["text", "image", "audio", "video"]
    text: str
    """The text, or the file's name."""
    file: str = ""
    """The file, relative to the page; none where the row itself holds it."""
    picture: str = ""
    """A small copy, as a data URI."""


Contents = Mapping[Held, Content]


def named(rankings: Iterable[Ranking]) -> set[Held]:
    """All that is to be shown."""
    return {
        held
        for ranking in rankings
        for question in ranking.questions
        for held in (question.query, *question.wanted, *(answer.document for answer in question.answers))
    }


def contents(
    rankings: Sequence[Ranking], rows: Rows | Stream, media: Mapping[str, Medium], folder: Path
) -> dict[Held, Content]:
    """What the rows hold that some rankings name, for a page in `folder`: one pass, up to the last row that is needed."""
    wanted = named(rankings)
    found: dict[Held, Content] = {}
    asked = list(dict.fromkeys(ranking.held for ranking in rankings))  # the best and the worst ask the same
    for row in all_of(rows) if wanted else ():
        for ask in asked:
            for encoder, id_ in held(ask, row).items():
                if (held_ := Held(encoder, id_)) in wanted and encoder in media:
                    found[held_] = content(row, media[encoder], folder)
                    wanted.discard(held_)
        if not wanted:
            break
    return found


def held(ask: Callable[[Mapping[str, Any]], Mapping[str, str]], row: Row) -> Mapping[str, str]:
    """Encoder -> id; of a row that was set aside, nothing."""
    try:
        return ask(row.fields)
    except ValueError:
        return {}


def content(row: Row, medium: Medium, folder: Path) -> Content:
    """What a row holds for an encoder; of several media the first."""
    raw = row.fields.get(medium.field)
    first = raw[0] if isinstance(raw, (list, tuple)) and raw and isinstance(raw[0], (str, bytes)) else raw
    if medium.file and isinstance(first, bytes):
        picture = thumbnail(io.BytesIO(first)) if medium.modality == "image" else ""
        return Content("image" if picture else "text", f"{medium.modality} of {len(first)} bytes", picture=picture)
    if not medium.file or not isinstance(first, str):
        return Content("text", shortened(first))
    path = row.root / first
    file = quote(os.path.relpath(path.resolve(), folder.resolve()))
    if medium.modality == "image":
        return Content("image", path.name, file, thumbnail(path))
    kinds: dict[str, Literal["audio", "video"]] = {"audio": "audio", "video": "video"}
    return Content(kinds.get(medium.modality, "text"), path.name, file)


def shortened(raw: Any) -> str:
    """A text of bearable length; of bytes and lists of numbers their beginning."""
    text = raw if isinstance(raw, str) else repr(raw)
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rstrip()} …"


def thumbnail(file: Path | io.BytesIO) -> str:
    """A small picture as a data URI; empty where it cannot be read, or nothing that reads pictures is installed."""
    try:
        from PIL import Image
    except ImportError:
        return ""
    try:
        with Image.open(file) as picture:
            picture.draft("RGB", (LARGEST, LARGEST))
            small = picture.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    small.thumbnail((LARGEST, LARGEST))
    held_ = io.BytesIO()
    small.save(held_, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(held_.getvalue()).decode()
