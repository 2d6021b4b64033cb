"""What a check is: one invariant of one component, with a failure that teaches."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol

import attrs

HERE = Path(__file__).parent


class CheckFailed(AssertionError):  # noqa: N818
    """The invariant does not hold."""


class NotApplicable(Exception):  # noqa: N818
    """The invariant says nothing about this component."""


class CheckResult(NamedTuple):
    """How one check of one component (`encoder:patch`) ended."""

    component: str
    check: str
    passed: bool
    skipped: bool
    message: str


class Labelled(Protocol):
    """What can be checked."""

    label: str
    """`encoder:patch`."""

    @property
    def flaw(self) -> CheckFailed | None:
        """Why it cannot be tested at all."""


@attrs.frozen(slots=False, repr=False, eq=False)
class Check:
    """An invariant of a component; calling it raises CheckFailed where it does not hold."""

    subject: Labelled
    invariant: Callable[[Any], None]
    needs_more: bool = False
    """It has nothing to check where `can_be_tested` fails."""

    @property
    def name(self) -> str:
        """The invariant's own."""
        return self.invariant.__name__

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def __call__(self) -> None:
        """As a test: pytest is told where there is nothing to check."""
        __tracebackhide__ = True
        try:
            self.run()
        except NotApplicable as reason:
            if "pytest" not in sys.modules:
                raise
            import pytest

            pytest.skip(str(reason))

    def run(self) -> None:
        """Check, with the global random state put back; NotApplicable where there is nothing to check."""
        __tracebackhide__ = True
        from a2a_core.testing.compare import seeded

        if self.needs_more and self.subject.flaw is not None:
            raise NotApplicable(f"see can_be_tested: {str(self.subject.flaw).splitlines()[0]}")
        try:
            with seeded():
                self.invariant(self.subject)
        except CheckFailed as failure:
            rule = (self.invariant.__doc__ or "").strip().splitlines()[0]
            failure.args = (f"{failure}\n  the rule: {rule}",)
            raise

    def result(self) -> CheckResult:
        """Run it and say how it ended."""
        passed, skipped, message = True, False, ""
        try:
            self.run()
        except NotApplicable as reason:
            passed, skipped, message = False, True, str(reason)
        except CheckFailed as failure:
            passed, message = False, str(failure)
        except Exception as error:  # a plugin may raise anything anywhere, and the other checks must still run
            passed, message = False, explained(f"the check stopped: {raised(error)}", where(error))
        return CheckResult(self.subject.label, self.name, passed, skipped, message)


def fail(what: str, found: str = "", because: str = "", remedy: str = "") -> NoReturn:
    """CheckFailed that says what was compared, what was found, what usually causes it and what to do."""
    __tracebackhide__ = True
    raise CheckFailed(explained(what, found, because, remedy))


def expect(holds: bool, what: str, found: str = "", because: str = "", remedy: str = "") -> None:
    """`fail` unless it holds."""
    __tracebackhide__ = True
    if not holds:
        fail(what, found, because, remedy)


def explained(what: str, found: str = "", because: str = "", remedy: str = "") -> str:
    """The message of a failure."""
    parts = [("found", found), ("usual cause", because), ("what to do", remedy)]
    return "\n".join([what, *(f"  {title}: {text}" for title, text in parts if text)])


@contextmanager
def attempt(what: str, because: str = "", remedy: str = "") -> Iterator[None]:
    """Whatever is raised inside is a failure of `what`."""
    try:
        yield
    except (CheckFailed, NotApplicable):
        raise
    except Exception as error:  # a plugin's code runs here: whatever it raises is what was to be found out
        raise CheckFailed(explained(f"{what} raises {raised(error)}", where(error), because, remedy)) from error


def raised(error: BaseException) -> str:
    """An exception in a line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def where(error: BaseException) -> str:
    """The last line of the plugin's own that an exception came through."""
    import torch

    library = Path(torch.__file__).parent.parent
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if HERE not in Path(frame.filename).parents and library not in Path(frame.filename).parents
    ]
    if not frames:
        return ""
    last = frames[-1]
    return f"{last.filename}:{last.lineno}, in {last.name}: {last.line}"
