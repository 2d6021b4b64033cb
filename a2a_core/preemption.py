"""The machine is wanted back: SIGTERM, as schedulers send it, or SIGUSR1, as SLURM does on request."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(KeyboardInterrupt):
    """A run has to stop now, and is to be gone on with later."""


@contextmanager
def heeded() -> Iterator[None]:
    """Raise Preempted where such a signal comes. A trainer that saves first has handlers of its own while it trains."""

    def stop(*_: object) -> NoReturn:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # more of them change nothing
        raise Preempted

    try:
        before = {each: signal.signal(each, stop) for each in SIGNALS}
    except ValueError:  # not the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
