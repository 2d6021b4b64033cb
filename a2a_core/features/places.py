"""The user's cache folder: where it lies, what it holds and how much it may hold. Imports no torch: `a2a cache` lists it.

<folder>/features/<encoder>/<time>-<run>-<rank>.safetensors      shards; their time of change says when they were last used
<folder>/features/<encoder>/.*.partial                           a shard that is being written, or was when its writer died
<folder>/locks/<encoder>                                         held by whoever writes or deletes there
<folder>/contents.sqlite                                         files' contents by path, size and times
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from a2a_core.errors import A2AError
from a2a_core.features.lock import Lock

FOLDER, LIMIT = "A2A_CACHE", "A2A_CACHE_LIMIT"
DEFAULT_LIMIT = "50GiB"
SUFFIX, PARTIAL = ".safetensors", ".partial"
UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
LONGEST_HEADER = 1 << 20


class Damaged(ValueError):  # noqa: N818 - what a shard is
    """A shard that cannot be read."""


class Header(NamedTuple):
    """The beginning of a safetensors file."""

    tensors: dict[str, Any]
    """Name -> `dtype`, `shape`, `data_offsets`."""
    metadata: dict[str, str]
    start: int
    """Where the tensors begin."""


class ShardFile(NamedTuple):
    """One file of an encoder's features."""

    path: Path
    size: int
    used: float
    """Seconds since 1970."""


def folder() -> Path:
    """`A2A_CACHE`, else `a2a` in the user's cache folder."""
    given = os.environ.get(FOLDER)
    if given:
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "a2a"


def encoders() -> Path:
    """The folder with a folder for each encoder."""
    return folder() / "features"


def contents() -> Path:
    """Where files' contents are remembered."""
    return folder() / "contents.sqlite"


def lock_of(encoder: str) -> Lock:
    """The lock of an encoder's folder."""
    return Lock(folder() / "locks" / encoder)


def limit() -> int:
    """Bytes that all features together may take (`A2A_CACHE_LIMIT`); A2AError for what is no size."""
    text = os.environ.get(LIMIT) or DEFAULT_LIMIT
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?b?)\s*", text.lower())
    if match is None:
        raise A2AError(f"{LIMIT} = {text!r} is no size", hint="write `50GiB` or `200GB`")
    base = 1000 if match[3] == "b" else 1024
    return int(float(match[1]) * base ** UNITS[match[2]])


def size(count: float) -> str:
    """Bytes as people read them."""
    unit = next((power for power in (4, 3, 2, 1) if count >= 1024**power), 0)
    return f"{count / 1024**unit:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[unit]}" if unit else f"{count:.0f} B"


def shards(encoder: Path) -> list[ShardFile]:
    """An encoder's shards, the oldest first; others may delete some at any moment. OSError where they cannot be listed."""
    found = []
    with suppress(FileNotFoundError):
        for entry in os.scandir(encoder):
            with suppress(FileNotFoundError):
                if entry.name.endswith(SUFFIX) and entry.is_file():
                    found.append(ShardFile(Path(entry.path), entry.stat().st_size, entry.stat().st_mtime))
    return sorted(found, key=lambda shard: shard.path.name)


def every_shard() -> Iterator[ShardFile]:
    """Of all encoders, as far as this user may list them."""
    for encoder in every():
        with suppress(OSError):
            yield from shards(encoder)


def every() -> Iterator[Path]:
    """Each encoder's folder."""
    with suppress(OSError):
        yield from sorted(path for path in encoders().iterdir() if path.is_dir())


def header(path: Path) -> Header:
    """A shard's header, read without any library; Damaged for a file that is cut off or no shard."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        text = file.read(length) if length <= LONGEST_HEADER else b""
        there = os.fstat(file.fileno()).st_size
    try:
        tensors: dict[str, Any] = json.loads(text)
        metadata = tensors.pop("__metadata__")
        whole = 8 + length + max(each["data_offsets"][1] for each in tensors.values())
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise Damaged("it does not begin as a safetensors file") from None
    if there != whole:
        raise Damaged(f"it has {there} bytes instead of {whole}")
    return Header(tensors, metadata, 8 + length)


def delete(found: Collection[ShardFile]) -> int:
    """Delete shards; the bytes that this freed. Processes that have them mapped keep them until they end."""
    freed = 0
    for shard in found:
        with suppress(FileNotFoundError):
            shard.path.unlink()
            freed += shard.size
    return freed


def clean(encoder: Path) -> None:
    """Delete what writers that died left half-written, and the folder if nothing is left. Only for who holds its lock."""
    with suppress(OSError):
        for path in encoder.glob(f".*{PARTIAL}"):
            with suppress(OSError):
                path.unlink()
        encoder.rmdir()


def sweep() -> None:
    """Clean the folder of each encoder whose writer died: nobody holds its lock."""
    for encoder in every():
        with suppress(OSError):  # another run may do the same
            if any(encoder.glob(f".*{PARTIAL}")) or not any(encoder.iterdir()):
                with alone(encoder.name) as free:
                    if free:
                        clean(encoder)


@contextmanager
def alone(encoder: str) -> Iterator[bool]:
    """Hold an encoder's lock if it is free, and surely held; OSError where its file cannot be made."""
    lock = lock_of(encoder)
    lock.take()
    try:
        yield lock.held
    finally:
        lock.release()


def evict(wanted: int, keep: Collection[Path], mine: str) -> int:
    """Delete shards, the least recently used first, until `wanted` bytes are freed; the bytes that were.

    `keep` are what this run needs; `mine` is the encoder whose lock it holds. Encoders whose lock another run holds, or may
    hold on a file system without locks, are left alone.
    """
    freed = 0
    for shard in sorted(every_shard(), key=lambda shard: shard.used):
        encoder = shard.path.parent
        if freed >= wanted:
            break
        if shard.path in keep:
            continue
        with suppress(OSError), nullcontext(True) if encoder.name == mine else alone(encoder.name) as free:
            if free:
                freed += delete([shard])
                if encoder.name != mine:
                    clean(encoder)
    return freed
