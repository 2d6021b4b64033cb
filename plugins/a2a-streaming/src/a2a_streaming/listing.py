"""What the locations of a source mean: files, folders, patterns with braces and stars, and lists of them."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from a2a_core.errors import A2AError
from a2a_data.files import neighbour
from a2a_streaming.access import explained, reached

MOST = 1_000_000
"""Files of a stream; more are a mistake in a pattern."""
RANGE = re.compile(r"\{(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})")
SQUEEZED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4")


def listed(locations: Sequence[str], suffixes: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """All files, each once, in the order of the locations, those of a pattern sorted; A2AError where one has none.

    Files that a location names one by one are looked for on this machine alone: elsewhere it would take a request each.
    """
    found: dict[str, None] = {}
    for location in locations:
        found |= dict.fromkeys(files(location, suffixes, options))
    squeezed = next((file for file in found if bare(file).endswith(SQUEEZED)), None)
    if squeezed is not None:
        raise A2AError(
            f"{bare(squeezed)} is compressed as a whole: there is no going on in the middle of it", hint="unpack the shards"
        )
    return list(found)


def files(location: str, suffixes: Sequence[str], options: Mapping[str, Any]) -> Iterator[str]:
    """Those of one location; a file that has this very name is meant, whatever signs it has."""
    local = "://" not in location
    if local:
        location = str(Path(location).absolute())
        if Path(location).is_file():
            yield location
            return
    numbers = max((abs(int(last) - int(first)) for first, last in RANGE.findall(location)), default=0)
    try:
        patterns = [] if numbers > MOST else list(islice(braceexpand(location, escape=False), MOST + 1))
    except ValueError:  # its own for unbalanced ones is one
        raise A2AError(f"{location} has a brace too many, or too few") from None
    if max(numbers, len(patterns)) > MOST:
        raise A2AError(f"{location} means more than {MOST} files")
    for pattern in patterns:
        yield from local_files(pattern, suffixes) if local else remote_files(pattern, suffixes, options)


def local_files(pattern: str, suffixes: Sequence[str]) -> Sequence[str]:
    """A file, those of a folder with these suffixes, or those that fit a pattern."""
    path = Path(pattern)
    if path.is_file():
        return [pattern]
    if path.is_dir():
        found = sorted(str(each) for each in path.iterdir() if each.suffix.lower() in suffixes and each.name[0] != ".")
        if not found:
            raise A2AError(f"the folder {path} has no {' or '.join(f'*{suffix}' for suffix in suffixes)} file")
        return found
    if not glob.has_magic(pattern):
        raise A2AError(f"there is no file {path}", hint=neighbour(path))
    found = sorted(each for each in glob.glob(pattern, recursive=True) if Path(each).is_file())  # noqa: PTH207 - no hidden ones
    if not found:
        raise A2AError(f"no file fits {pattern}")
    return found


def remote_files(pattern: str, suffixes: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
    """A file as it is named, those of a folder (its URL ends in `/`) with these suffixes, or those that fit a pattern."""
    several = [pattern + "*" + suffix for suffix in suffixes] if pattern.endswith("/") else [pattern]
    if not any("*" in each for each in several):  # a `?` begins the query of a URL, a `[` its address
        reached(pattern, options)
        return several
    found: list[str] = []
    for each in several:
        system, path = reached(each, options)
        before = each[: each.rindex("::") + 2] if "::" in each.split("://")[0] else ""
        try:
            found += [before + system.unstrip_protocol(name) for name in system.glob(path)]
        except Exception as error:  # every file system has exceptions of its own
            raise A2AError(f"the files of {bare(each)} cannot be listed: {explained(error, 60)}") from error
    if not found:
        raise A2AError(f"no file fits {bare(pattern)}")
    return sorted(found)


def bare(url: str) -> str:
    """Without the query, which may hold what is nobody else's business."""
    return url.split("?", 1)[0] if "://" in url else url


def labels(urls: Sequence[str]) -> list[str]:
    """Names for messages: relative to the folder that all have in common."""
    parts = [bare(url).split("/") for url in urls]
    lowest, highest = min(parts), max(parts)
    shared = 0
    while shared < min(len(lowest), len(highest)) - 1 and lowest[shared] == highest[shared]:
        shared += 1
    return ["/".join(each[shared:]) for each in parts]


def root(url: str) -> Path:
    """The folder of a file on this machine; of others the URL as if it were one, which no file has."""
    return Path(url).absolute().parent if "://" not in url else Path("/", bare(url)).parent
