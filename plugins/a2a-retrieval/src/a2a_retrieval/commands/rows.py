"""Rows of JSON lines that commands read, and what is said of those that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from a2a_core.errors import A2AError, printable

if TYPE_CHECKING:
    from a2a_core.data import BadRow
    from a2a_core.structures import Row

SHOWN = 5


def check_file(path: Path) -> None:
    """A2AError for a file that is not there; `-` is standard input."""
    if str(path) != "-" and not path.is_file():
        raise A2AError(f"there is no file {path}")


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a file, or of standard input."""
    from a2a_core.inference import read_lines

    if str(path) == "-":
        yield from read_lines(sys.stdin, "standard input", Path.cwd())
        return
    with path.open(encoding="utf-8-sig") as file:
        try:
            yield from read_lines(file, path.name, path.resolve().parent)
        except UnicodeDecodeError as error:
            raise A2AError(f"{path} is not UTF-8: {error}", hint="rows are JSON lines, one object a line") from None


def begun(rows: Iterator[Row], name: str) -> tuple[Row, Iterator[Row]]:
    """The first row, and all of them; A2AError where there is none."""
    first = next(rows, None)
    if first is None:
        raise A2AError(f"{name} has no rows")
    return first, chain([first], rows)


class LeftOut:
    """Rows that could not be used: counted, the first of them named."""

    def __init__(self) -> None:
        self.count, self.reasons = 0, list[str]()

    def add(self, bad: Iterable[BadRow]) -> None:
        """Some more."""
        for each in bad:
            self.note(each.row.place, each.reason)

    def note(self, place: str, reason: str) -> None:
        """One more."""
        self.count += 1
        if len(self.reasons) < SHOWN:
            self.reasons.append(f"  {place}: {reason}")

    def tell(self, what: str) -> None:
        """On stderr, if there are any."""
        if self.count:
            more = [f"  and {self.count - SHOWN} more"] if self.count > SHOWN else []
            lines = [f"{self.count} {'row' if self.count == 1 else 'rows'} {what}:", *self.reasons, *more]
            click.echo(printable("\n".join(lines)), err=True)

    def refuse(self, name: str) -> A2AError:
        """What to say where no row is left."""
        return A2AError(f"no row of {name} can be embedded: {self.reasons[0].strip()}")
