"""The source `media`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from a2a_core.options import option
from a2a_data.source import FileSource

if TYPE_CHECKING:
    from a2a_core.components import Rows

SUFFIXES = {
    "image": [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"],
    "audio": [".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac"],
    "video": [".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"],
    "text": [".txt"],
}
UNREAD: dict[str, Any] = {"json": {"label": "$.label"}, "json_file": ".json"}
"""Options that only `labels = "json"` reads, as they are when a recipe says nothing of them."""


class MediaSource(FileSource):
    """Folders of media files, with all folders in them; files that share a stem are one row.

    `s1/a.mp4`, `s1/a.wav` and `s1/a.txt` are the row `s1/a`, with the fields `video` and `audio` (paths, as
    `fields` says) and `text` (what stands in the file). A text without a medium is no row unless `fields` names text
    alone. Hidden files and folders are skipped. Paths and ids are relative to the folder, or to the part of a pattern that
    has no `*`, `?` or `[`.

    `labels = "folder"`: the field `label` is the name of the folder that the file lies in (as in ImageNet).
    `labels = "json"`: each field that `json` names is what its JSON path (RFC 9535) selects in the row's label file, one
    value; for the field that `explode` names, all that a path with wildcards or filters selects. A row without label file,
    or in whose file a path selects nothing, lacks the field: it is not labelled. Where that is so of every row, it is an
    error; so is a label file that is no JSON.

    Every opening lists the folders, and looks at size and times of labels and texts; these are read the first time.
    """

    name = "media"
    path: Path = option("a folder, or a pattern of media files such as `data/**/*.mp4`", exists=True)
    fields: dict[str, list[str]] = option("field = the endings of its files", default=SUFFIXES)
    labels: Literal["none", "folder", "json"] = option("where labels come from", default="none")
    json: dict[str, str] = option("field = the JSON path of its value in a label file", default=UNREAD["json"])
    json_file: str = option(
        "a label file's ending in place of the medium's (`.meta.json`), or the one file of the folder (`labels.json`), an "
        "object whose keys are the rows' ids or files",
        default=UNREAD["json_file"],
    )

    def check(self) -> None:
        """Every ending belongs to one field, no field comes twice, and JSON paths are such."""
        super().check()
        owners: dict[str, str] = {}
        for field, endings in self.fields.items():
            for ending in endings:
                if not ending.startswith(".") or len(ending) < 2 or "/" in ending:
                    raise ValueError(f"`fields.{field}`: an ending begins with a dot, such as `.mp4`; got `{ending}`")
                if owners.setdefault(ending.lower(), field) != field:
                    raise ValueError(f"`fields`: `{ending}` belongs to `{owners[ending.lower()]}` and to `{field}`")
        if not owners:
            raise ValueError("`fields` names no ending")
        if self.labels == "json":
            self._check_json()
            return
        unread = [name for name, default in UNREAD.items() if getattr(self, name) != default]
        if unread:
            raise ValueError(f'`{unread[0]}` is read with `labels = "json"` alone, and `labels` is "{self.labels}"')

    def _check_json(self) -> None:
        from a2a_data.json_paths import JsonPath

        if not self.json:
            raise ValueError('`labels = "json"` needs `json`, such as `json = { label = "$.label" }`')
        twice = [field for field in self.json if field in self.fields]
        if twice:
            raise ValueError(f"`{twice[0]}` is a field of `fields` and of `json`")
        if not self.json_file:
            raise ValueError("`json_file` is empty")
        for field, path in self.json.items():
            JsonPath(field, path)

    def build(self) -> Rows:
        """List the folders, and read labels and texts into the cache or find them there."""
        from a2a_data.media_rows import open_media

        return open_media(self)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Three files, two of them one row, and a list of segments for each row but one."""
        (folder / "s1").mkdir(exist_ok=True)
        for name in ("a.mp4", "s1/b.avi", "s1/b.wav", "s1/c.wav"):
            (folder / name).write_bytes(b"")
        segments = '[{"label": "sit", "start": 0, "end": 1.5}, {"label": "walk", "start": 1.5, "end": 2}]'
        for name in ("a", "s1/b"):
            (folder / f"{name}.json").write_text(f'{{"by": "me", "found": {{"segments": {segments}}}}}')
        paths = {"segments": "$.found.segments", "by": "$.by"}
        return cls(path=folder, labels="json", json=paths, explode="segments")
