"""Media folders as a table of JSON, with the labels and texts that lie beside the media."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from a2a_core.errors import A2AError, Problem
from a2a_data.cache import stamped
from a2a_data.json_paths import JsonPath
from a2a_data.label_files import Labeller, label_files
from a2a_data.media_files import Group, groups
from a2a_data.rows import ROW

if TYPE_CHECKING:
    from a2a_data.media import MediaSource

TEXT = ".txt"
PLACE, LABELLED = "place", "labelled"
SCHEMA = pa.schema([(PLACE, pa.large_string()), (LABELLED, pa.bool_()), (ROW, pa.large_string())])
BATCH_ROWS = 1000
MOST_PROBLEMS = 5


class Line(NamedTuple):
    """A row of the table."""

    place: str
    labelled: bool
    row: str


class MediaReader:
    """One reading of a source's folders."""

    def __init__(self, source: MediaSource) -> None:
        self._source = source
        self.root = groups(source.path, source.fields)[0]
        self._files = label_files(self.root, source.json_file)
        self._text_alone = all(is_text(ending) for endings in source.fields.values() for ending in endings)

    def stamps(self) -> Iterator[str]:
        """What changes when the table would: names, and size and times of what is read."""
        for group in self._groups():
            yield f"{group.id}\t{group.files}"
            for name in self._read(group):
                yield stamped(self.root / name)

    def tables(self) -> Iterator[pa.Table]:
        """The rows; A2AError with the first few that cannot be read."""
        paths = [JsonPath(field, path, field == self._source.explode) for field, path in self._source.json.items()]
        labeller = Labeller(self._files, paths)
        batch: list[Line] = []
        problems: list[Problem] = []
        last: Group | None = None
        for last in self._groups():
            try:
                batch.append(self._line(last, labeller))
            except A2AError as error:
                problems += error.problems
                if len(problems) >= MOST_PROBLEMS:
                    break
            if len(batch) == BATCH_ROWS:
                yield table(batch)
                batch = []
        if problems:
            raise A2AError(problems)
        if last is None:
            raise self._nothing()
        if self._source.labels == "json":
            labeller.finish(last)
        if batch:
            yield table(batch)

    def _groups(self) -> Iterator[Group]:
        found = groups(self._source.path, self._source.fields)[1]
        return (group for group in found if self._text_alone or not all(map(is_text, group.files.values())))

    def _read(self, group: Group) -> list[str]:
        texts = [name for name in group.files.values() if is_text(name)]
        return [*texts, self._files.file(group)] if self._source.labels == "json" else texts

    def _line(self, group: Group, labeller: Labeller) -> Line:
        media = {field: self._text(name) if is_text(name) else name for field, name in group.files.items()}
        labels = self._labels(group, labeller)
        row = json.dumps({"id": group.id, **media, **labels})
        return Line(next(iter(group.files.values())), self._source.labels == "none" or labels != {}, row)

    def _labels(self, group: Group, labeller: Labeller) -> dict[str, Any]:
        if self._source.labels == "json":
            return labeller.fields(group)
        if self._source.labels == "none":
            return {}
        name = PurePosixPath(group.id).parent.name
        if not name:
            text = f"{next(iter(group.files.values()))} lies in no folder below {self.root} that would be its label"
            raise A2AError(text, hint="move it into one, or give a pattern such as `data/*/*.png`")
        return {"label": name}

    def _text(self, name: str) -> str:
        try:
            return (self.root / name).read_text("utf-8-sig").rstrip("\n")
        except UnicodeDecodeError as error:
            raise A2AError(f"{name} is not UTF-8 (byte {error.start + 1})") from None

    def _nothing(self) -> A2AError:
        wanted = " or ".join(ending for endings in self._source.fields.values() for ending in endings)
        return A2AError(f"{self._source.path} has no file that ends in {wanted}", hint="`fields` names the endings")


def is_text(name: str) -> bool:
    """A file that is read itself."""
    return name.lower().endswith(TEXT)


def table(batch: Sequence[Line]) -> pa.Table:
    """A piece of the table."""
    columns = zip(*batch, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, SCHEMA.types, strict=True)], schema=SCHEMA)
