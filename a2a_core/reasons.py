"""Why rows are bad, for people: each kind of reason a few times, then how many more there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeVar

from a2a_core.errors import Problem
from a2a_core.structures import Row

T = TypeVar("T")
EACH = 3
"""Rows of a kind that are shown."""
KINDS = 5
"""Kinds that are shown."""
VARYING = re.compile(r"""(\bfield `[^`]*`)|`[^`]*`|'[^']*'|"[^"]*"|\([^)]*\)|/\S+|\d+(?:\.\d+)?""")
"""What differs between two reasons that mean the same (names in quotes, paths, numbers), and a field, which does not."""


def kind_of(reason: str) -> str:
    """What reasons of one kind have in common; the field that is wrong among it."""
    return VARYING.sub(lambda found: found[1] or "…", reason)


def few(bad: Iterable[tuple[T, str]]) -> Iterator[tuple[T, str, int]]:
    """Some of these, kind by kind, each with its reason and how many more of its kind follow that are not shown."""
    kinds: dict[str, list[tuple[T, str]]] = {}
    for row, reason in bad:
        kinds.setdefault(kind_of(reason), []).append((row, reason))
    for several in list(kinds.values())[:KINDS]:
        shown = several[:EACH]
        for number, (row, reason) in enumerate(shown, 1):
            yield row, reason, len(several) - EACH if number == EACH else 0


def problems(bad: Iterable[tuple[Row, str]]) -> list[Problem]:
    """Some of these as mistakes."""
    return [
        Problem(f"{row.place} (id {row.id}): {reason}", hint=f"and {more} more like this" if more else "")
        for row, reason, more in few(bad)
    ]


class Tally:
    """Reasons as they come: which are worth a word, and how many were not."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.others = 0

    def worth(self, reason: str) -> bool:
        """Whether to show it; it is counted."""
        kind = kind_of(reason)
        if kind not in self.counts and len(self.counts) == KINDS:
            self.others += 1
            return False
        self.counts[kind] += 1
        return self.counts[kind] <= EACH

    def rest(self) -> Iterator[str]:
        """How many were not shown, a sentence a kind."""
        for kind, count in self.counts.items():
            if count > EACH:
                yield f"and {count - EACH} more like this: {kind}"
        if self.others:
            yield f"and {self.others} more for other reasons"
