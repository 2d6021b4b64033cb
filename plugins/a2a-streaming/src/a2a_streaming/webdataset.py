"""The source `webdataset`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core.options import Location, option
from a2a_streaming.source import StreamingSource

if TYPE_CHECKING:
    from a2a_core.streams import Stream


class WebDatasetSource(StreamingSource):
    """Tar shards in the format of WebDataset: members that follow one another and share a key are one row.

    A member's key is its name up to the first dot behind the last slash; what comes behind that dot is its field, in lower
    case: `cats/07.jpg`, `cats/07.cls` and `cats/07.seg.png` make the row `cats/07` with the fields `jpg`, `cls`, `seg.png`, and
    `__key__`. Names without a dot, or with a first part such as `__meta__`, are no part of a row.

    Media stay bytes, which encoders of pictures, sounds and videos take as they are. By the last part of the ending: `txt`,
    `text` and `transcript` are text; `cls`, `cls2`, `class`, `index`, `inx` and `count` are whole numbers if they look like
    one, else text; `json` is parsed. The object in a member called `json` alone is spread into the row: its keys are fields.

    Several columns with `;` between them are one field: `columns = { image = "jpg;jpeg;png" }` takes the first that a row has.
    """

    name = "webdataset"
    suffixes: ClassVar[tuple[str, ...]] = (".tar",)
    columns: dict[str, str] = option(
        'field = the column that it is read from, or several, `"jpg;png"`; all other columns stay as they are', default={}
    )

    def alternatives(self, column: str) -> tuple[str, ...]:
        """Between semicolons."""
        return tuple(column.split(";"))

    def build(self) -> Stream:
        """List the shards."""
        from a2a_streaming.shards import FileStream
        from a2a_streaming.tar_files import TarFiles

        return FileStream(self, TarFiles)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two shards, five rows."""
        import io
        import tarfile

        rows = [("a", {"jpg": b"\xff\xd8", "cls": b"1"}), ("b", {"txt": "ü".encode(), "json": b'{"id": 7, "label": null}'})]
        rows += [(f"deep/{number}", {"seg.png": bytes([number]), "cls": b"cat"}) for number in range(3)]
        for shard, several in enumerate((rows[:2], rows[2:])):
            with tarfile.open(folder / f"{shard}.tar", "w") as tar:
                for key, fields in several:
                    for field, data in fields.items():
                        member = tarfile.TarInfo(f"{key}.{field}")
                        member.size = len(data)
                        tar.addfile(member, io.BytesIO(data))
        return cls(path=Location(folder / "{0..1}.tar"))
