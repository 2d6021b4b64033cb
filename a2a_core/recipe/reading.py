"""A recipe's text from disk. A recipe may come from anywhere: everything about it is bounded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tomli

from a2a_core.errors import A2AError, Origin, Problem
from a2a_core.recipe.tree import Node, TextFile, tree

LARGEST = 256_000
DEEPEST = 32


def fail(message: str, origin: Origin | None = None, hint: str = "") -> A2AError:
    """One problem as an error."""
    return A2AError([Problem(message, origin, hint)])


def real(path: Path) -> Path:
    """The file that a path means in the end."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        raise fail(f"{str(path)!r} is a path that leads nowhere") from None


def read(path: Path) -> str:
    """A text that can be a recipe: a regular file, small, UTF-8."""
    try:
        if not path.is_file():
            raise fail(f"{path} is not a regular file" if path.exists() else f"there is no file {path}")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise fail(f"{path} is larger than {LARGEST:,} bytes: that is no recipe")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise fail(f"{path} is not UTF-8 (byte {error.start})") from None
    except (OSError, ValueError) as error:
        raise fail(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def parse(path: Path, text: str) -> Node:
    """A recipe file's text as a tree."""
    document = TextFile(shown(path), path.parent, text.replace("\r\n", "\n"))
    try:
        data = tomli.loads(document.text)
    except tomli.TOMLDecodeError as error:
        position = min(error.pos, len(document.text))
        raise fail(f"not TOML: {error.msg}", document.at((position, position + 1))) from None
    except (RecursionError, ValueError) as error:
        raise fail(f"not TOML: {error}", Origin(document.source)) from None
    if depth(data) > DEEPEST:
        raise fail(f"nested deeper than {DEEPEST} levels", Origin(document.source))
    return tree(data, document)


def depth(data: Any) -> int:
    """Levels of tables and lists, counted no further than matters."""
    level, found = [data], 0
    while level and found <= DEEPEST:
        inner = [value for item in level for value in (item.values() if isinstance(item, dict) else item)]
        level, found = [value for value in inner if isinstance(value, (dict, list))], found + 1
    return found


def shown(path: Path) -> str:
    """A path for messages: relative where that is shorter."""
    near = os.path.relpath(path)
    return str(path) if near.startswith("..") else near


def utf8(text: str) -> bool:
    """Can it be written down? What the shell and file systems hand over need not be text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
