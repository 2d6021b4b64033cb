"""What a metric may show besides its numbers: `sections() -> Sequence[Section]`, asked once a split has been evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Note(NamedTuple):
    """A sentence."""

    text: str


class Table(NamedTuple):
    """Numbers and names in rows; with `heat`, the larger a number the darker its cell."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    heat: bool = False


class Curve(NamedTuple):
    """Lines over one axis: name -> points (x, y)."""

    title: str
    x: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


class Held(NamedTuple):
    """What some row holds: the medium of this id that an encoder reads."""

    encoder: str
    id: str


class Answer(NamedTuple):
    """A document that a query returned, and whether it should have: `grade` above 0."""

    document: Held
    score: float
    grade: float


class Question(NamedTuple):
    """A query, how well it was answered, what it returned (the best first), and what it should have."""

    query: Held
    value: float
    answers: Sequence[Answer]
    wanted: Sequence[Held]


class Ranking(NamedTuple):
    """Queries with what they returned. `held(fields)` says what a row holds: encoder -> id; the report shows the media."""

    title: str
    measure: str
    questions: Sequence[Question]
    held: Callable[[Mapping[str, Any]], Mapping[str, str]]


Section = Note | Table | Curve | Ranking
