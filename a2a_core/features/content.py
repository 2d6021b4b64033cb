"""What tells one medium from another: its content, not its name. A file that has not changed is read once, not once a run."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR
from typing import Any, cast

import numpy as np
import torch
from xxhash import xxh3_128, xxh3_128_digest

from a2a_core.features import Unusable
from a2a_core.structures import Segment

CHUNK = 1 << 22
SETTLED = 2_000_000_000
"""Nanoseconds after a change in which a file may change again without its times showing it."""
AT_ONCE = 512
TABLE = "CREATE TABLE IF NOT EXISTS contents (path BLOB PRIMARY KEY, stamp TEXT NOT NULL, digest BLOB NOT NULL)"

Files = Callable[[Path], bytes]
"""A file's path to a digest of its content."""


def key_of(raw: Any, files: Files) -> bytes:
    """16 bytes for what a processor is given; OSError for a file that cannot be read, Unusable for what has no content.

    A file's suffix counts: readers go by it. Of a Segment, its bounds count.
    """
    if isinstance(raw, Segment):
        return xxh3_128_digest(b"segment" + key_of(raw.medium, files) + repr((raw.start, raw.end)).encode())
    if isinstance(raw, Path):
        return xxh3_128_digest(b"file" + os.fsencode(raw.suffix.lower()) + b"\0" + files(raw))
    try:
        text = json.dumps(raw, default=digest, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise Unusable(f"a {type(raw).__name__} cannot be told from another: {error}") from None
    return xxh3_128_digest(b"value" + text.encode())


def digest(value: Any) -> Any:
    """JSON for what has none; TypeError for what has no content that we know of."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"a2a:bytes": xxh3_128(value).hexdigest()}
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray) and value.dtype != object:
        return {"a2a:array": [str(value.dtype), list(value.shape), xxh3_128(np.ascontiguousarray(value).tobytes()).hexdigest()]}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"its {type(value).__name__} has no content that can be compared")


def read(path: Path) -> bytes:
    """A file's content as 16 bytes; of a folder, that of all files in it with their names."""
    if path.is_dir():
        inside = sorted(each for each in path.rglob("*") if each.is_file())
        return xxh3_128_digest(b"".join(os.fsencode(each.relative_to(path)) + b"\0" + read(each) for each in inside))
    hasher = xxh3_128()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
    return hasher.digest()


class Contents:
    """Remembers files' digests between runs by path, size, inode and times of change; call it with a path.

    It only saves time: where it cannot be read or written, files are read. A file that changed within the last two seconds
    is not remembered, since it may change again within the same tick of the clock.
    """

    def __init__(self, path: Path) -> None:
        self.fresh: dict[bytes, tuple[str, bytes]] = {}
        self.database: sqlite3.Connection | None = None
        with suppress(sqlite3.Error, OSError):
            self.database = opened(path)

    def __call__(self, path: Path) -> bytes:
        """Its digest; OSError where it cannot be read."""
        stat = path.stat()
        if S_ISDIR(stat.st_mode):
            return read(path)
        name = os.fsencode(os.path.abspath(path))  # noqa: PTH100 - resolving links would ask the system for each part
        stamp = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_dev} {stat.st_ino}"
        known = self.fresh.get(name) or self.remembered(name)
        if known is not None and known[0] == stamp:
            return known[1]
        found = read(path)
        if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED:
            self.fresh[name] = (stamp, found)
            if len(self.fresh) >= AT_ONCE:
                self.write()
        return found

    def remembered(self, name: bytes) -> tuple[str, bytes] | None:
        """Stamp and digest from an earlier run."""
        if self.database is not None:
            with suppress(sqlite3.Error):
                row = self.database.execute("SELECT stamp, digest FROM contents WHERE path = ?", (name,)).fetchone()
                return cast("tuple[str, bytes] | None", row)
        return None

    def write(self) -> None:
        """Keep what was found since."""
        if self.database is not None and self.fresh:
            rows = [(name, *each) for name, each in self.fresh.items()]
            with suppress(sqlite3.Error), self.database:
                self.database.executemany("INSERT OR REPLACE INTO contents VALUES (?, ?, ?)", rows)
            self.fresh = {}

    def close(self) -> None:
        """Keep it all."""
        self.write()
        if self.database is not None:
            self.database.close()
            self.database = None


def opened(path: Path) -> sqlite3.Connection:
    """The database, made anew where it is damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = sqlite3.connect(path, timeout=10)
    try:
        found.execute(TABLE)
    except sqlite3.DatabaseError as error:
        found.close()
        if isinstance(error, sqlite3.OperationalError):  # locked, or not to be written
            raise
        path.unlink()
        found = sqlite3.connect(path, timeout=10)
        found.execute(TABLE)
    return found
