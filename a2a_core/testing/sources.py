"""Invariants of sources."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from a2a_core.components import SourceConfig
from a2a_core.structures import Row
from a2a_core.testing.check import attempt, expect, fail
from a2a_core.testing.subject import Subject

TINY = """
    @classmethod
    def tiny(cls, folder):
        (folder / "rows.jsonl").write_text('{"id": "a", "text": "x"}\\n{"id": "b"}\\n')      # at least two rows
        return cls(path=folder / "rows.jsonl")
"""


class SourceSubject(Subject[SourceConfig]):
    """A source and its rows."""

    def prepare(self) -> None:
        """It opens, and has rows."""
        with attempt("rows[0]"):
            self.rows[0]

    @cached_property
    def rows(self) -> Any:
        """Opened once."""
        config = self.config
        with attempt("build() of what `tiny(folder)` gives", remedy=f"give the class\n{TINY}"):
            rows: Any = config.build()
            count = len(rows)
        if count < 2:
            text = f"`{self.cls.__name__}.tiny(folder)` has {count} rows; at least two are compared"
            fail(text, remedy=f"give the class\n{TINY}")
        return rows


def rows_are_well_formed(subject: SourceSubject) -> None:
    """A row has fields by name, an id of its own, the folder where relative paths start, and a place for messages."""
    known: dict[str, Row] = {}
    for index in range(len(subject.rows)):
        with attempt(f"rows[{index}]"):
            row = subject.rows[index]
        expect(
            isinstance(row, Row),
            f"rows[{index}] is {type(row).__name__}",
            remedy="return a2a_core.Row(fields, id, root, place)",
        )
        named = isinstance(row.fields, Mapping) and all(isinstance(name, str) for name in row.fields)
        expect(named, f"rows[{index}].fields must map names to values", repr(row.fields)[:200])
        expect(
            isinstance(row.id, str) and row.id != "",
            f"rows[{index}].id must be a string that says which row it is",
            repr(row.id),
        )
        expect(
            isinstance(row.place, str) and row.place != "",
            f"rows[{index}].place must say where it is (`train.jsonl:17`)",
            repr(row.place),
        )
        expect(
            row.root.is_absolute(),
            f"rows[{index}].root must be an absolute folder",
            str(row.root),
            remedy="path.resolve().parent",
        )
        other = known.setdefault(row.id, row)
        expect(
            other.fields == row.fields,
            f"different rows have the id {row.id!r}",
            f"{other.place} and {row.place}",
            remedy="add what tells them apart, such as the row's number",
        )


def same_index_same_row(subject: SourceSubject) -> None:
    """rows[n] is the same row however often and in whatever order it is asked for, and when the source is opened again.

    A resumed run asks for the rows it has not seen by their numbers, and reads no other.
    """
    count = len(subject.rows)
    first = [subject.rows[index] for index in range(count)]
    with attempt("build(), a second time"):
        again: Any = subject.config.build()
    expect(len(again) == count, f"opened again it has {len(again)} rows, before {count}")
    for what, rows in (("asked for again", subject.rows), ("opened again", again)):
        for index in reversed(range(count)):
            equal = rows[index] == first[index]
            expect(
                equal,
                f"rows[{index}], {what}, is another row",
                f"{first[index]} against {rows[index]}"[:400],
                "an iterator or a generator of random numbers behind the index",
                "make row n a function of n alone; the trainer shuffles",
            )


def indices_work(subject: SourceSubject) -> None:
    """Any integer index works, numpy's too; beyond the last row is an IndexError."""
    import numpy as np

    for index in (np.int64(1), np.int32(0)):
        with attempt(f"rows[{type(index).__name__}({index})]", remedy="operator.index(index)"):
            row = subject.rows[index]
        expect(row == subject.rows[int(index)], f"rows[{type(index).__name__}({index})] is another row than rows[{index}]")
    count = len(subject.rows)
    try:
        found = subject.rows[count]
    except IndexError:
        return
    except Exception as error:  # any other exception is what this check looks for
        fail(f"rows[{count}] of {count} rows raises {type(error).__name__}", remedy="raise IndexError: iteration ends by it")
    fail(
        f"rows[{count}] of {count} rows gives {found!r}"[:300], because="an index modulo the length", remedy="raise IndexError"
    )


def rows_are_picklable(subject: SourceSubject) -> None:
    """The opened rows pickle, before and after use, and the copy gives the same rows: data workers get copies."""
    with attempt(
        "pickling the opened rows",
        "an open file, a lock or a lambda in an attribute",
        "open files on first use, and drop them in __getstate__",
    ):
        copies = [pickle.loads(pickle.dumps(rows)) for rows in (subject.config.build(), subject.rows)]
    for copy in copies:
        for index in range(len(subject.rows)):
            expect(copy[index] == subject.rows[index], f"rows[{index}] of the pickled rows is another row")


def column_is_a_field_of_every_row(subject: SourceSubject) -> None:
    """column(field) gives that field of every row, None where it is absent; an unknown field is a KeyError that lists all."""
    rows = [subject.rows[index] for index in range(len(subject.rows))]
    for field in sorted({name for row in rows for name in row.fields}):
        with attempt(f"column({field!r})"):
            found = list(subject.rows.column(field))
        wanted = [row.fields.get(field) for row in rows]
        expect(found == wanted, f"column({field!r}) is not that field of every row", f"{wanted} against {found}"[:300])
    try:
        list(subject.rows.column("no such field"))
    except KeyError as error:
        known = {name for row in rows for name in row.fields}
        silent = not any(name in str(error) for name in known)
        expect(
            not silent,
            "the KeyError for an unknown field does not say which there are",
            str(error),
            remedy=f"list {sorted(known)}",
        )
        return
    except Exception as error:  # any other exception is what this check looks for
        fail(
            f"column() of an unknown field raises {type(error).__name__}: {error}",
            remedy="raise KeyError that lists the fields",
        )
    fail("column() of an unknown field raises nothing", remedy="raise KeyError that lists the fields")


def fields_are_plain(subject: SourceSubject) -> None:
    """A row's fields are what JSON can hold, or bytes: media are decoded by processors, when they are asked for."""
    for index in range(len(subject.rows)):
        for name, value in subject.rows[index].fields.items():
            expect(
                plain(value),
                f"rows[{index}].fields[{name!r}] is {type(value).__name__}",
                because="a data set that decodes pictures and sounds by itself",
                remedy="turn decoding off and hand on the path or the bytes",
            )


def plain(value: Any) -> bool:
    """Numbers, texts, bytes, and lists and dicts of them."""
    if isinstance(value, Mapping):
        return all(plain(each) for each in value.values())
    if isinstance(value, (list, tuple)):
        return all(map(plain, value))
    return value is None or isinstance(value, (str, bytes, bool, int, float))


CHECKS = (
    rows_are_well_formed,
    same_index_same_row,
    indices_work,
    rows_are_picklable,
    column_is_a_field_of_every_row,
    fields_are_plain,
)
