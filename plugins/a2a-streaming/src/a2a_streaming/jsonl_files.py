"""JSON lines by the byte that a line starts at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from a2a_core.streams import At
from a2a_streaming.access import Reader
from a2a_streaming.shards import Files, Record

BOM = b"\xef\xbb\xbf"
LONGEST = 1 << 28
"""Bytes of a line; a longer one is the sign of another kind of file."""


class JsonlFiles(Files):
    """A row's number is that of its line, from 0."""

    def records(self, file: Reader, start: At, wanted: Callable[[int], bool]) -> Iterator[Record]:
        """Parses the lines that are wanted."""
        number, offset = start
        for line in lines(file, offset):
            if wanted(number) and line and not line.isspace():
                text = line.removeprefix(BOM) if offset == 0 else line
                yield Record(At(number, offset), f":{number + 1}", parsed(text))
            number, offset = number + 1, offset + len(line) + 1


def lines(file: Reader, offset: int) -> Iterator[bytes]:
    """Lines from a byte on, without their ends."""
    file.seek(offset)
    begun: list[bytes] = []
    size = 0
    while block := file.piece():
        first, *others = block.split(b"\n")
        begun.append(first)
        size += len(first)
        if others:
            yield b"".join(begun)
            yield from others[:-1]
            begun, size = [others[-1]], len(others[-1])
        if size > LONGEST:
            raise ValueError(f"a line has more than {LONGEST} bytes")
    if size:
        yield b"".join(begun)


def parsed(line: bytes) -> dict[str, Any] | str:
    """The object of a line, or what is wrong with it."""
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start + 1})"
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg} (column {error.pos + 1})"
    except (ValueError, RecursionError) as error:  # an integer of too many digits
        return f"cannot be read: {error}"
    return found if isinstance(found, dict) else f"is no JSON object but {type(found).__name__}"
