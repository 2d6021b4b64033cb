"""Where every key and value of a TOML text stands. The parser has accepted it: nothing is checked, only delimited."""

from __future__ import annotations

import re
from typing import NamedTuple

import tomli

Key = tuple[str | int, ...]
"""`("trainer", "groups", 0, "match")`."""
Range = tuple[int, int]

BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL)
BARE = re.compile(r"[A-Za-z0-9_-]+")
SCALAR = re.compile(r"[^\s,\]}#]+(?: \d\d:\d\d[^\s,\]}#]*)?")


class Span(NamedTuple):
    """Offsets of a key and of its value; equal where there is no value of its own, as for a table."""

    key: Range
    value: Range


class Part(NamedTuple):
    """One part of a dotted key."""

    name: str
    where: Range


class Scanner:
    """Walks a text once."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.spans: dict[Key, Span] = {}
        self.counts: dict[Key, int] = {}
        """Tables so far in each array of tables."""

    def blank(self) -> str:
        """Skip blanks and comments; the character after them."""
        self.take(BLANK)
        return self.text[self.at : self.at + 1]

    def take(self, pattern: re.Pattern[str]) -> Range:
        """Skip what the pattern matches."""
        found = pattern.match(self.text, self.at)
        assert found, f"the parser accepted what the scanner cannot read at offset {self.at}"
        start, self.at = self.at, found.end()
        return start, self.at

    def key(self) -> list[Part]:
        """A dotted key."""
        parts = []
        while True:
            quoted = self.blank() in ('"', "'")
            where = self.take(STRING if quoted else BARE)
            raw = self.text[slice(*where)]
            parts.append(Part(tomli.loads(f"k = {raw}")["k"] if quoted else raw, where))
            if self.blank() != ".":
                return parts
            self.at += 1

    def note(self, base: Key, parts: list[Part], header: bool = False) -> Key:
        """Remember where a dotted key's parts were named first; the whole path."""
        for position, part in enumerate(parts, 1):
            base = (*base, part.name)
            self.spans.setdefault(base, Span(part.where, part.where))
            if header and base in self.counts and position < len(parts):
                base = (*base, self.counts[base] - 1)
        return base

    def value(self, path: Key) -> Range:
        """A value, and in arrays and inline tables what is in them."""
        start, first = self.at, self.text[self.at]
        if first in "\"'":
            return self.take(STRING)
        if first not in "[{":
            return self.take(SCALAR)
        self.at, index, close = self.at + 1, 0, {"[": "]", "{": "}"}[first]
        while (after := self.blank()) != close:
            if after == ",":
                self.at += 1
            elif first == "{":
                self.pair(path)
            else:
                where = self.value((*path, index))
                self.spans[(*path, index)] = Span(where, where)
                index += 1
        self.at += 1
        return start, self.at

    def pair(self, base: Key) -> None:
        """`key = value`."""
        parts = self.key()
        path = self.note(base, parts)
        self.at += 1
        self.blank()
        self.spans[path] = Span(parts[-1].where, self.value(path))

    def header(self) -> Key:
        """`[table]` or `[[array]]`; the path of what follows."""
        many = self.text.startswith("[[", self.at)
        self.at += 1 + many
        parts = self.key()
        self.at += 1 + many
        path = self.note((), parts, header=True)
        if many:
            self.counts[path] = self.counts.get(path, 0) + 1
            path = (*path, self.counts[path] - 1)
            self.spans[path] = Span(parts[-1].where, parts[-1].where)
        return path

    def run(self) -> dict[Key, Span]:
        """The whole text."""
        base: Key = ()
        while first := self.blank():
            if first == "[":
                base = self.header()
            else:
                self.pair(base)
        return self.spans


def scan(text: str) -> dict[Key, Span]:
    """Map each key path to where it stands."""
    return Scanner(text).run()
