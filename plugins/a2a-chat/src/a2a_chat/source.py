"""The source `chat`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, cast

import attrs

from a2a_chat.formats import MODALITIES, canonical
from a2a_core.options import option
from a2a_data.source import FileSource

if TYPE_CHECKING:
    from a2a_core.components import Rows


class ChatSource(FileSource):
    """Conversations and plain texts, in one form whatever format they were written in.

    | format | a row |
    |---|---|
    | `llava` | `conversations` of {from: human or gpt, value}, the media in `image` |
    | `sharegpt` | the same, with `system` and with `images`, `videos`, `audios` |
    | `openai` | `messages` of {role, content}; a content is a text, or parts (`text`, `image_url`, `input_audio`, `image`, …) |
    | `alpaca` | `instruction`, `input`, `output`, `history`, `system` |
    | `text` | `text`; of a .txt file, a line |

    What comes out: `messages`, or `text`; the media in the fields `image`, `audio` and `video`, where encoders of these names
    find them, lists of paths and bytes in the order in which the text names them; all other fields. In a string `<image>`
    stands for an image, at its place; in a list of parts texts are what they are. Whether there are as many media as markers
    is compared by the collator, row by row. Nothing is fetched from the net.

    Files are JSON lines, a JSON list (.json), parquet or lines of text (.txt). The format is that of the first rows.
    """

    name = "chat"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".txt")
    format: Literal["auto", "llava", "sharegpt", "openai", "alpaca", "text"] = option(
        "how rows are written; `auto`: as the first of them are", default="auto"
    )
    markers: list[str] = option("modalities whose `<name>` in a string stands for a medium", default=list(MODALITIES))

    def build(self) -> Rows:
        """Read the files into the cache, or find them there."""
        from a2a_chat.chat_rows import ChatRows, detected_format
        from a2a_chat.files import open_files

        rows = open_files(self)
        known = self if self.format != "auto" else attrs.evolve(cast("Any", self), format=detected_format(rows))
        return ChatRows(rows, known.canonical)

    def canonical(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a row as this source gives them, wherever it comes from; ValueError where it cannot be read."""
        return canonical(fields, self.format, self.markers)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two conversations with images, and a row that is none."""
        path = folder / "tiny.jsonl"
        asked = '"conversations": [{"from": "human", "value": "<image>Who?"}, {"from": "gpt", "value": "He."}]'
        lines = [f'{{"id": "a", {asked}, "image": "a.png"}}', f'{{"id": "b", {asked}, "image": ["a.png", "b.png"]}}']
        lines += ['{"id": "c", "conversations": [{"from": "nobody", "value": "What?"}]}']
        path.write_text("\n".join(lines), "utf-8")
        return cls(path=path)
