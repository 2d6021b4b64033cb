"""What a checkpoint holds, and whether it still does: sizes and checksums of its files, names and shapes of its tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

NAME = "manifest.json"
THREADS = 4
"""Files that are read at once: hashing lets other threads run."""


def write(folder: Path, tensors: Mapping[str, Any], **about: Any) -> None:
    """Put every file of a folder, those in folders below it too, on the disk, then say in `manifest.json` what they are.

    `tensors` are those that it holds, whatever has `shape` and `dtype`; `about` is what else a reader shall know (`step`,
    `ranks`, `backend`). To be called last, by one rank: what is written afterwards is not in it.
    """
    found = files(folder)
    with ThreadPoolExecutor(THREADS) as pool:
        entries = dict(zip(found, pool.map(lambda name: settled(folder / name), found), strict=True))
    for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        sync(path)
    said = {**about, "files": entries, "tensors": {name: described(tensor) for name, tensor in tensors.items()}}
    with (folder / NAME).open("w", encoding="utf-8") as file:
        file.write(json.dumps({**said, "sha256": digest(said)}, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync(folder)


def files(folder: Path) -> list[str]:
    """Its files, by their names in it."""
    every = (path for path in folder.rglob("*") if path.is_file() and path != folder / NAME)
    return sorted(path.relative_to(folder).as_posix() for path in every)


def described(tensor: Any) -> dict[str, Any]:
    """Its shape and type, as JSON."""
    return {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}


def settled(path: Path) -> dict[str, Any]:
    """A file's size and checksum, once it is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": file_digest(file, "sha256").hexdigest()}


def sync(path: Path) -> None:
    """A file's bytes, or a folder's own entries, to the disk: a rename is none before."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def digest(said: Mapping[str, Any]) -> str:
    """The checksum of what a manifest says."""
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read(folder: Path) -> dict[str, Any]:
    """What `manifest.json` says; ValueError with the reason where it is not there or not as it was written."""
    try:
        said = json.loads((folder / NAME).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"it has no {NAME}, which is written last") from None
    except OSError as error:
        raise ValueError(f"{NAME} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{NAME} is damaged") from None
    if not isinstance(said, dict) or said.pop("sha256", None) != digest(said):
        raise ValueError(f"{NAME} is damaged")
    return said


def verify(folder: Path, contents: bool = True) -> str | None:
    """Why a checkpoint is not what was written; None where it is. Without `contents` only sizes are compared."""
    try:
        entries: dict[str, dict[str, Any]] = read(folder)["files"]
    except ValueError as error:
        return str(error)
    reasons = (wrong_size(folder / name, entry["bytes"], name) for name, entry in entries.items())
    reason = next((reason for reason in reasons if reason), None)
    if reason or not contents:
        return reason
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda name: wrong_contents(folder / name, entries[name]["sha256"], name), entries)
        return next((reason for reason in found if reason), None)


def wrong_size(path: Path, size: int, name: str) -> str | None:
    """A file that is missing, or was cut off."""
    try:
        there = path.stat().st_size
    except FileNotFoundError:
        return f"`{name}` is missing"
    except OSError as error:
        return f"`{name}` cannot be read: {error.strerror}"
    return None if there == size else f"`{name}` has {there} bytes, and {size} were written"


def wrong_contents(path: Path, checksum: str, name: str) -> str | None:
    """A file whose bytes are others than those that were written."""
    try:
        with path.open("rb") as file:
            there = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"`{name}` cannot be read: {error.strerror}"
    return None if there == checksum else f"`{name}` is damaged: its checksum is not that of what was written"
