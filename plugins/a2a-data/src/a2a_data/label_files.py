"""Label files: one beside each medium, or one of the whole folder; and what JSON paths select in them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from a2a_core.errors import A2AError, Origin, Problem, suggest
from a2a_data.files import neighbour
from a2a_data.json_paths import ABSENT, JsonPath
from a2a_data.media_files import Group


class LabelFiles(ABC):
    """Where the document that labels a row lies."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name

    @abstractmethod
    def file(self, group: Group) -> str:
        """The file, there or not, relative to the root."""

    @abstractmethod
    def document(self, group: Group) -> Any:
        """What it says of the row, ABSENT where nothing; A2AError for a broken file."""

    @abstractmethod
    def without(self, group: Group) -> A2AError:
        """The error where no row has a document; `group` is one of them."""


class FileBeside(LabelFiles):
    """`s1/a.json` beside `s1/a.mp4`."""

    def file(self, group: Group) -> str:
        """See LabelFiles."""
        return f"{group.id}{self.name}"

    def document(self, group: Group) -> Any:
        """Reads the file."""
        try:
            return parsed(self.root, self.file(group))
        except FileNotFoundError:
            return ABSENT

    def without(self, group: Group) -> A2AError:
        """Names the file that was looked for."""
        text = f"no row of {self.root} has a label file: there is no {self.root / self.file(group)}, and none of the others"
        return A2AError(text, hint=neighbour(self.root / self.file(group)) or "`json_file` is the ending of label files")


class OneFile(LabelFiles):
    """`labels.json` in the root: an object whose keys are ids, or files with their endings."""

    def __init__(self, root: Path, name: str) -> None:
        super().__init__(root, name)
        self._documents: dict[str, Any] | None = None

    def file(self, group: Group) -> str:
        """See LabelFiles."""
        return self.name

    def document(self, group: Group) -> Any:
        """Looks the row up."""
        documents = self._read()
        return next((documents[name] for name in (group.id, *group.files.values()) if name in documents), ABSENT)

    def _read(self) -> dict[str, Any]:
        if self._documents is None:
            try:
                found = parsed(self.root, self.name)
            except FileNotFoundError:
                raise A2AError(f"there is no file {self.root / self.name}", hint=neighbour(self.root / self.name)) from None
            if not isinstance(found, dict):
                text = f"{self.name} holds no object whose keys are rows but a {type(found).__name__}"
                raise A2AError(text, hint="`json_file` that begins with a dot (`.json`) is read beside each medium")
            self._documents = found
        return self._documents

    def without(self, group: Group) -> A2AError:
        """Shows what keys look like, and what rows are called."""
        text = f"{self.name} names no row of {self.root}: they are called like `{group.id}`"
        return A2AError(text, hint=suggest(group.id, self._read(), str(self.root / self.name)))


def label_files(root: Path, name: str) -> LabelFiles:
    """A name that begins with a dot is an ending."""
    return FileBeside(root, name) if name.startswith(".") else OneFile(root, name)


def parsed(root: Path, name: str) -> Any:
    """A JSON file's document; A2AError that shows where it is broken."""
    text, line, column = "", 0, 0
    try:
        text = (root / name).read_bytes().decode("utf-8-sig")
        return json.loads(text)
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start + 1})"
    except json.JSONDecodeError as error:
        what, line, column = f"is not JSON: {error.msg}", error.lineno, error.colno
    except (ValueError, RecursionError) as error:
        what = f"cannot be read: {error}"
    shown = text.splitlines()[line - 1] if line and line <= len(text.splitlines()) else ""
    origin = Origin(source=str(root / name), text=shown, line=line, column=max(0, column - 1))
    raise A2AError([Problem(f"{name}{f':{line}:{column}' if line else ''} {what}", origin)])


class Labeller:
    """The fields that label files give to rows, and what to say of paths that select nothing."""

    def __init__(self, files: LabelFiles, paths: list[JsonPath]) -> None:
        self._files, self._paths = files, paths
        self._documents, self._used = 0, set[str]()
        self._example: tuple[str, Any] = ("", None)

    def fields(self, group: Group) -> dict[str, Any]:
        """A row's; A2AError where a path selects several values and one is wanted."""
        document = self._files.document(group)
        if document is ABSENT:
            return {}
        file = self._files.file(group)
        if not self._documents:
            self._example = (file, document)
        self._documents += 1
        try:
            found = {path.field: path.value(document) for path in self._paths}
        except ValueError as error:
            raise A2AError(f"{file} (row `{group.id}`): {error}") from None
        self._used |= {field for field, value in found.items() if value is not ABSENT and value != []}
        return {field: value for field, value in found.items() if value is not ABSENT}

    def finish(self, group: Group) -> None:
        """A2AError where no row was labelled, or a path selected nothing in all of them; `group` is one."""
        if not self._documents:
            raise self._files.without(group)
        file, document = self._example
        unused = [path for path in self._paths if path.field not in self._used]
        texts = [f"`{path.text}` (for `{path.field}`) selects nothing in any label file, such as {file}" for path in unused]
        if unused:
            hints = [path.close(document) for path in unused]
            raise A2AError([Problem(text, hint=hint) for text, hint in zip(texts, hints, strict=True)])
