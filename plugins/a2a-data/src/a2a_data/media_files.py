"""Media files in folders, grouped by stem: those of one row lie side by side under one name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, NoReturn

from a2a_core.errors import A2AError
from a2a_data.files import neighbour

Folder = tuple[str, list[str]]
"""A folder's path relative to the root (`/` between its parts), and the names of files in it, sorted."""


class Group(NamedTuple):
    """Files that share a stem: which is the row's id, and field -> file; paths are relative to the root."""

    id: str
    files: dict[str, str]


def groups(path: Path, fields: Mapping[str, Sequence[str]]) -> tuple[Path, Iterator[Group]]:
    """The root of a folder or pattern, and its groups in the order of their folders; A2AError where there is no such path.

    As many names are held as the largest folder has; all of them where a pattern is given.
    """
    owners = {ending.lower(): field for field, endings in fields.items() for ending in endings}
    path = path.absolute()
    if path.is_dir():
        root, folders = path, walked(path)
    elif path.is_file():
        raise A2AError(f"{path} is a file", hint="name its folder, or a pattern such as `data/**/*.mp4`")
    elif not glob.has_magic(str(path)):
        raise A2AError(f"there is no folder {path}", hint=neighbour(path))
    else:
        root = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        folders = matching(path, root)
    return root, (group for folder in folders for group in grouped(*folder, owners, list(fields)))


def walked(root: Path) -> Iterator[Folder]:
    """A folder and all in it. Links to folders are followed, but not back to where one came from."""
    for name, folders, names in os.walk(root, followlinks=True, onerror=refuse):
        folder = Path(name)
        folders[:] = sorted(each for each in folders if not each.startswith(".") and not leads_back(folder / each))
        relative = folder.relative_to(root).as_posix()
        yield "" if relative == "." else relative, sorted(each for each in names if not each.startswith("."))


def refuse(error: OSError) -> NoReturn:
    """A folder that cannot be read is an error, not empty."""
    raise error


def leads_back(folder: Path) -> bool:
    """A link to a folder that it lies in, or that one came through."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    return folder.parent.resolve().is_relative_to(target) or any(parent.resolve() == target for parent in folder.parents)


def matching(pattern: Path, root: Path) -> Iterator[Folder]:
    """The files that a pattern matches."""
    found = sorted(Path(name) for name in glob.glob(str(pattern), recursive=True))  # noqa: PTH207 - no hidden files
    files = [path for path in found if not path.is_dir()]
    if not files:
        raise A2AError(f"no file matches {pattern}", hint="it matches folders: add `/**/*`" if found else "")
    for folder, paths in groupby(sorted(files, key=lambda path: path.parent), key=lambda path: path.parent):
        relative = folder.relative_to(root).as_posix()
        yield "" if relative == "." else relative, [path.name for path in paths]


def grouped(folder: str, names: Sequence[str], owners: Mapping[str, str], fields: Sequence[str]) -> Iterator[Group]:
    """The groups of one folder; A2AError where two files want to be the same field of a row."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        stem, field = split(name, owners)
        if not field:
            continue
        path = f"{folder}/{name}" if folder else name
        files = found.setdefault(f"{folder}/{stem}" if folder else stem, {})
        if field in files:
            text = f"`{field}` of one row would be two files: {files[field]} and {path}"
            raise A2AError(text, hint="rename one, or name the endings that count by `fields`")
        files[field] = printable(path)
    for key, files in found.items():
        yield Group(key, {field: files[field] for field in fields if field in files})


def split(name: str, owners: Mapping[str, str]) -> tuple[str, str]:
    """Stem and field of a file by its longest known ending, in small letters or capitals; no field where none is known."""
    start = name.find(".", 1)
    while start > 0:
        if field := owners.get(name[start:].lower()):
            return name[:start], field
        start = name.find(".", start + 1)
    return name, ""


def printable(name: str) -> str:
    """A name that can be printed and written down."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise A2AError(f"the name of the file {name!r} is not UTF-8", hint="rename it") from None
    return name
