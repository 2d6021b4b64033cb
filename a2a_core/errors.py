"""What is wrong, where it was written, and what to do about it: all of it at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs


@attrs.frozen(slots=False)
class Origin:
    """Where a value was written: a file's line, `--set`, the environment or a default."""

    source: str
    text: str = ""
    line: int = 0
    column: int = 0
    length: int = 1
    folder: Path | None = None

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@attrs.frozen(slots=False)
class Problem:
    """One mistake."""

    message: str
    origin: Origin | None = None
    hint: str = ""

    def render(self) -> str:
        """The message, the line it stands in with the place marked, and the hint."""
        return printable(self._lines())

    def _lines(self) -> str:
        lines = [f"error: {self.message}"]
        if self.origin is None or not self.origin.text:
            where = [f"  --> {self.origin}"] if self.origin else []
            return "\n".join([*lines, *where, *([f"  help: {self.hint}"] if self.hint else [])])
        number = str(self.origin.line) if self.origin.line else "  "
        text, start = self.origin.text[:160], self.origin.column
        if start > 80:
            text, start = "…" + self.origin.text[start - 40 : start + 80], 41
        text = "".join(sign if sign.isprintable() else " " for sign in text)  # one for one: the marks stand below it
        lines.append(f"{' ' * len(number)}--> {self.origin}")
        lines.append(f"{number} | {text}")
        marks = "^" * max(1, min(self.origin.length, len(text) - start))
        lines.append(f"{' ' * (len(number) + 3 + start)}{marks} {self.hint}".rstrip())
        return "\n".join(lines)


def printable(text: str) -> str:
    """Text that a terminal can show and does not obey: a recipe may hold anything."""
    return "".join(sign if sign.isprintable() or sign == "\n" else sign.encode("unicode_escape").decode() for sign in text)


class A2AError(Exception):
    """Mistakes that the user can mend (exit code 2); never shown with a traceback."""

    exit_code = 2
    table = ""
    """The part of the recipe at fault (`adapters.0`), where that is known without the recipe; see a2a_core.mistakes."""

    def __init__(self, problems: Sequence[Problem] | str, hint: str = "") -> None:
        self.problems = [Problem(problems, hint=hint)] if isinstance(problems, str) else list(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n\n".join(problem.render() for problem in self.problems)


class RunFailed(A2AError):  # noqa: N818 - the name says it
    """A run that went wrong though its recipe was right (exit code 1): NaN, a full disk, a rank that died."""

    exit_code = 1


class LeftOut(ValueError):  # noqa: N818 - what the row is
    """A row that the recipe leaves out, such as one that is too long: it counts as no bad one."""


class Unwanted(ValueError):  # noqa: N818 - what the row is
    """A row with which the recipe lets no run go on."""


def suggest(word: str, known: Iterable[str], where: str = "a2a plugins list") -> str:
    """`did you mean`, else what there is; the command that lists what is too much for a line."""
    from difflib import get_close_matches  # only mistakes need it

    names = sorted(known)
    close = get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{close[0]}`?"
    if len(names) > 12:
        return f"{len(names)} are known; see `{where}`"
    return f"there is {', '.join(f'`{name}`' for name in names)}" if names else "there is none"
