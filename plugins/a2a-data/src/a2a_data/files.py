"""What a path in a recipe means: one file, a folder's files, or those that a pattern matches."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from a2a_core.errors import A2AError


def matched(path: Path, suffixes: Sequence[str]) -> tuple[Path, ...]:
    """The files of `path`, absolute, sorted; of a folder those with these suffixes. A2AError when there are none."""
    path = path.absolute()
    if path.is_file():
        return (path,)
    if path.is_dir():
        found = sorted(child for child in path.iterdir() if child.suffix.lower() in suffixes and visible(child))
        if not found:
            raise A2AError(f"the folder {path} has no {' or '.join(f'*{suffix}' for suffix in suffixes)} file")
        return tuple(found)
    if not glob.has_magic(str(path)):
        raise A2AError(f"there is no file {path}", hint=neighbour(path))
    names = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob would match hidden files too
    found = sorted(file for name in names if (file := Path(name)).is_file())
    if not found:
        raise A2AError(f"no file matches {path}")
    return tuple(found)


def visible(path: Path) -> bool:
    """A file that is not hidden."""
    return path.is_file() and not path.name.startswith(".")


def neighbour(path: Path) -> str:
    """The file that was probably meant."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    close = get_close_matches(path.name, [child.name for child in path.parent.iterdir()], n=1)
    return f"did you mean `{close[0]}`?" if close else ""


def labels(files: Sequence[Path]) -> tuple[str, ...]:
    """Names for messages: the file's own, or relative to what all have in common when they lie in several folders."""
    shared = os.path.commonpath([file.parent for file in files])
    return tuple(file.relative_to(shared).as_posix() for file in files)
