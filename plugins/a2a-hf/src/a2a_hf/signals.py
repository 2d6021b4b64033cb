"""Signals while a run trains: whoever asks it to stop gets a checkpoint after the step at hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from a2a_core.preemption import SIGNALS, answered

STOPPING = b"\nnote: stopping after this step, with a checkpoint; once more to stop at once\n"
LEAVING = b"\nnote: asked to leave: stopping after this step, with a checkpoint\n"


class Asked(Protocol):
    """What is told that it shall stop."""

    asked: bool
    preempted: bool


@contextmanager
def interruptible(engine: Asked, main: bool) -> Iterator[None]:
    """Tell `engine` of signals; of Ctrl-C (SIGINT) once: the second ends the process as usual.

    Where the machine is wanted back (SIGTERM, SIGUSR1) more of them change nothing: some schedulers send both, and again.
    """

    before = signal.getsignal(signal.SIGINT)

    def interrupt(*_: Any) -> None:
        engine.asked = True
        signal.signal(signal.SIGINT, before)
        say(STOPPING)

    def leave(*_: Any) -> None:
        if not engine.preempted:
            engine.preempted = True
            say(LEAVING)

    def say(text: bytes) -> None:
        if main:
            os.write(2, text)  # a handler may come in the middle of any print, and so does not print itself

    with answered({signal.SIGINT: interrupt, **dict.fromkeys(SIGNALS, leave)}):
        yield
