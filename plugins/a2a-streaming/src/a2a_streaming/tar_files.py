"""Tar shards by the byte that a row's first member starts at.

Headers are `tarfile`'s own to read; its walk over an archive is not used: it takes a damaged header, or a missing end, for
the end of the archive, keeps every member that it saw, and stops at the first of several archives behind one another.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from a2a_core.streams import At
from a2a_streaming.access import Reader
from a2a_streaming.shards import Files, Record

BLOCK = 512
"""Bytes that everything in an archive is a multiple of."""
NAME = re.compile(r"(?:\./)?((?:.*/)?[^./]+)\.([^/]+)", re.DOTALL)
"""A key and an ending."""
META = re.compile(r"__[^/]*__([/.]|$)", re.DOTALL)
WHOLE = re.compile(r"-?[0-9]+", re.ASCII)
TEXT, CLASS = {"txt", "text", "transcript"}, {"cls", "cls2", "class", "index", "inx", "count"}


class Member(NamedTuple):
    """A file in an archive."""

    key: str
    field: str
    offset: int
    """Of its first header."""
    start: int
    """Of its data."""
    size: int


class TarFiles(Files):
    """A row's number is how many rows come before it."""

    def records(self, file: Reader, start: At, wanted: Callable[[int], bool]) -> Iterator[Record]:
        """Reads the members of the rows that are wanted. The last row is one only if the archive is whole."""
        number, begun, key = start.number - 1, start.offset, None
        parts: list[tuple[str, bytes]] | None = None
        for member in members(file, start.offset):
            if member.key != key:
                if parts is not None:
                    yield Record(At(number, begun), f"/{key}", fields(str(key), parts))
                number, begun, key = number + 1, member.offset, member.key
                parts = [] if wanted(number) else None
            if parts is not None:
                file.seek(member.start)
                parts.append((member.field, file.read(member.size)))
        if parts is not None:
            yield Record(At(number, begun), f"/{key}", fields(str(key), parts))


def members(file: Reader, offset: int) -> Iterator[Member]:
    """The members from a header on that are part of a row; ValueError where the archive is damaged or cut off."""
    file.seek(offset)
    try:
        archive = tarfile.TarFile(fileobj=file)
        while (offset := header(file, offset)) < file.size:
            file.seek(offset)
            found = tarfile.TarInfo.fromtarfile(archive)
            if found.issparse():
                raise ValueError(f"`{found.name}` is stored with holes: write the archive without `--sparse`")
            name = NAME.fullmatch(found.name) if found.isreg() and not META.match(found.name) else None
            if name:
                yield Member(name[1], name[2].lower(), offset, found.offset_data, found.size)
            if found.isreg() and (end := found.offset_data + found.size) > file.size:  # said now: a row before it is whole
                raise ValueError(f"it is cut off at byte {file.size}: `{found.name}` goes on to byte {end}")
            offset = archive.offset  # what `fromtarfile` leaves behind: where the next header is
    except tarfile.TarError as error:
        raise ValueError(f"it is no tar archive, or a damaged one, at byte {offset}: {error}") from None


def header(file: Reader, offset: int) -> int:
    """Where the next header is, behind empty blocks: several archives may follow one another. The file's size behind the last.

    ValueError where the file ends without an empty block, which is every archive's last.
    """
    ended = False
    while True:
        file.seek(offset)
        block = file.read(BLOCK)
        if len(block) < BLOCK or any(block):
            break
        ended, offset = True, offset + BLOCK
    if block and any(block):
        if len(block) == BLOCK:
            return offset
    elif ended:
        return file.size
    raise ValueError(f"it is cut off at byte {file.size}: an archive's end is an empty block")


def fields(key: str, parts: Sequence[tuple[str, bytes]]) -> dict[str, Any] | str:
    """A row of what its members hold, or what is wrong with it."""
    found: dict[str, Any] = {"__key__": key}
    for name, data in parts:
        if name in found:
            return f"has two members `{name}`"
        try:
            found[name] = value(name.rsplit(".", 1)[-1], data)
        except (ValueError, RecursionError) as error:
            return f"member `{name}` cannot be read: {error}"
    if not isinstance(found.get("json"), dict):
        return found
    spread = found.pop("json")
    twice = sorted(found.keys() & spread.keys())
    return f"`{twice[0]}` is a member, and a key of the member `json` too" if twice else found | spread


def value(kind: str, data: bytes) -> Any:
    """What a member of this ending holds."""
    if kind == "json":
        return json.loads(data.decode())
    if kind in TEXT:
        return data.decode()
    if kind in CLASS:
        text = data.decode().strip()
        return int(text) if WHOLE.fullmatch(text) else text
    return data
