"""Labels, the names of their classes, and what is learned of them from the training rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
"""The label of a sample that has none, as in torch.nn.functional.cross_entropy."""
MOST_CLASSES = 10_000
DOUBTED = 50
"""Up to so many classes are learned, however few rows each has."""
MOSTLY_NEW = 0.8
"""Share of rows that bring a class of their own: above it a column holds texts, names or measurements, not labels."""
LONGEST = 40
"""Letters of a name that are shown."""
MISFITS = 0.01
"""Share of labels that may be wrong without the classes being so; the usual limit of bad rows."""


class LabelProcessor:
    """A label -> the number of its class."""

    def __init__(self, field: str, names: Sequence[str]) -> None:
        self.field, self.names = field, tuple(names)
        self._numbers = {name: number for number, name in enumerate(self.names)}

    def __call__(self, fields: Mapping[str, Any]) -> int | None:
        """None without a label; ValueError for one that is no class."""
        label = fields.get(self.field)
        if label is None:
            return None
        name = name_of(self.field, label)
        number = self._numbers.get(name)
        if number is None:
            raise ValueError(f"field `{self.field}`: {stranger(name, self.names)}")
        return number

    def pad(self, targets: Sequence[int | None]) -> dict[str, Tensor]:
        """`label` (B,) int64, -100 where there is none."""
        import torch

        return {"label": torch.tensor([IGNORED if target is None else target for target in targets], dtype=torch.int64)}


def name_of(field: str, label: Any) -> str:
    """The class that a label names; ValueError for what is no label."""
    if isinstance(label, (str, int)) and label != "":
        return str(label)
    if isinstance(label, float):
        raise ValueError(f"field `{field}`: {label} is no class: write labels as text or whole numbers")
    shown = "an empty text" if label == "" else f"{type(label).__name__} {str(label)[:80]}"
    raise ValueError(f"field `{field}`: a label is text or a whole number, this is {shown}")


def stranger(name: str, names: Sequence[str]) -> str:
    """What to say of a label that is no class."""
    if is_numbered(names):
        return f"the label `{name}` is out of range: the classes are 0 to {len(names) - 1}"
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean `{cut(close[0])}`?" if close else f"the classes are {listed(names)}"
    return f"the label `{cut(name)}` is none of the {len(names)} classes; {hint}"


def is_numbered(names: Sequence[str]) -> bool:
    """0, 1, 2 …"""
    return all(name == str(number) for number, name in enumerate(names))


def listed(names: Iterable[str], most: int = 8) -> str:
    """The first of many names."""
    shown = list(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(f"`{cut(name)}`" for name in shown[:most]) + more


def cut(name: str) -> str:
    """A name on one line, or its beginning: it may be a whole text."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def learned(field: str, labels: Iterable[Any]) -> tuple[str, ...]:
    """The classes that a column of labels has, sorted. Labels that are wrong are left for the rows' own error."""
    found: dict[str, None] = {}
    wrong, rows = "", 0
    for label in labels:
        if label is None:
            continue
        rows += 1
        try:
            found[name_of(field, label)] = None
        except ValueError as error:
            wrong = wrong or str(error)
        if len(found) > MOST_CLASSES:
            raise ValueError(
                f"field `{field}` has more than {MOST_CLASSES} different labels; if they are classes, set `classes`"
            )
    if not found:
        raise ValueError(wrong or f"field `{field}`: no training row has a label")
    if len(found) == 1:
        raise ValueError(
            f"field `{field}`: every training row has the label `{next(iter(found))}`: there is nothing to tell apart"
        )
    if len(found) > max(DOUBTED, MOSTLY_NEW * rows):
        raise ValueError(
            f"{len(found)} classes in {rows} rows: is `{field}` a label? They are {listed(in_order(found), 5)}; "
            "if they are classes, set `classes`"
        )
    return in_order(found)


def numbered(field: str, size: int, labels: Iterable[Any]) -> tuple[str, ...]:
    """Classes 0 to size - 1; ValueError where the labels are not those (but for a few wrong ones)."""
    process = LabelProcessor(field, [str(number) for number in range(size)])
    right = 0
    misfits: Counter[str] = Counter()
    for label in labels:
        if label is None:
            continue
        try:
            process({field: label})
            right += 1
        except ValueError:
            misfits[str(label)[:80]] += 1
    wrong, every = misfits.total(), misfits.total() + right
    if not every:
        raise ValueError(f"field `{field}`: no training row has a label")
    if wrong > MISFITS * every:
        raise ValueError(
            f"`classes = {size}` takes 0 to {size - 1}, but of {every} labels in field `{field}` {wrong} are others: "
            f"{listed(in_order(misfits), 5)}"
        )
    return process.names


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers by size; other names alphabetically, the numbers within them by size (`class2` before `class10`)."""
    given = list(names)
    if are_numbers(given):
        return tuple(sorted(given, key=lambda name: (int(name), name)))
    return tuple(sorted(given, key=natural))


def are_numbers(names: Iterable[str]) -> bool:
    """Every name is a whole number."""
    return all(re.fullmatch(r"-?[0-9]+", name) for name in names)


def natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key to sort by: text and the number after it, again and again."""
    parts = [*re.split(r"([0-9]+)", name), "-1"]
    return [(text, int(number)) for text, number in zip(parts[::2], parts[1::2], strict=True)], name
