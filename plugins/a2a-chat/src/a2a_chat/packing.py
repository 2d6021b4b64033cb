"""Which rows share a place in a batch: by the room that they leave, or by a budget of tokens."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence


class Packing:
    """Rows into places of `size` tokens, by best fit among `buffer` rows at a time (best-fit decreasing, Johnson 1974).

    The longest row first, each into the place that it leaves least room in. Where rows fit better one after the other, in
    the order in which they came, they stay in it.
    """

    def __init__(self, size: int, buffer: int) -> None:
        self.size, self.buffer = size, buffer

    def __call__(self, lengths: Sequence[int]) -> list[list[int]]:
        """Each row's tokens, in an order of chance, to groups of rows by index; 0 and what is longer than a place is left out.

        Groups come in the order of their first rows, the rows of a group in their own.
        """
        groups: list[list[int]] = []
        for rows in buffered(lengths, self.size, self.buffer):
            best, plain = best_fit(rows, lengths, self.size), next_fit(rows, lengths, self.size)
            groups += best if len(best) <= len(plain) else plain
        return groups


class Budget:
    """Rows of like length into batches of `tokens` tokens at the most, among `buffer` rows at a time."""

    def __init__(self, tokens: int, buffer: int) -> None:
        self.tokens, self.buffer = tokens, buffer

    def __call__(self, lengths: Sequence[int]) -> list[list[int]]:
        """As Packing."""
        groups: list[list[int]] = []
        for rows in buffered(lengths, self.tokens, self.buffer):
            groups += in_order(next_fit(sorted(rows, key=lengths.__getitem__), lengths, self.tokens))
        return groups


def buffered(lengths: Sequence[int], size: int, buffer: int) -> Iterator[list[int]]:
    """Rows that can be used, so many at a time."""
    rows = [row for row, length in enumerate(lengths) if 0 < length <= size]
    return (rows[start : start + buffer] for start in range(0, len(rows), buffer))


def best_fit(rows: Sequence[int], lengths: Sequence[int], size: int) -> list[list[int]]:
    """The longest row first, each into the place that it leaves least room in."""
    groups: list[list[int]] = []
    room: list[tuple[int, int]] = []  # what is left in a place, and which it is; the fullest first
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        found = bisect_left(room, (lengths[row], 0))
        left, group = room.pop(found) if found < len(room) else (size, len(groups))
        if group == len(groups):
            groups.append([])
        groups[group].append(row)
        if left > lengths[row]:
            insort(room, (left - lengths[row], group))
    return in_order(groups)


def next_fit(rows: Sequence[int], lengths: Sequence[int], size: int) -> list[list[int]]:
    """One row after the other, a new place where the next does not fit."""
    groups: list[list[int]] = []
    left = 0
    for row in rows:
        if lengths[row] > left or not groups:
            groups.append([])
            left = size
        groups[-1].append(row)
        left -= lengths[row]
    return groups


def in_order(groups: Sequence[list[int]]) -> list[list[int]]:
    """Rows in the order in which they came, groups in that of their first rows."""
    return sorted(map(sorted, groups))
