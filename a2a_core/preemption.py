"""The machine is wanted back: SIGTERM, as schedulers send it, or SIGUSR1, as SLURM does on request."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any, NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(KeyboardInterrupt):
    """A run has to stop now, and is to be gone on with later."""


@contextmanager
def answered(handlers: Mapping[signal.Signals, Callable[..., Any]]) -> Iterator[None]:
    """Inside, signals have these handlers; in another than the main thread nobody has any, and whoever runs us answers."""
    before: dict[signal.Signals, Any] = {}
    try:
        for each, handler in handlers.items() if current_thread() is main_thread() else ():
            before[each] = signal.getsignal(each)
            signal.signal(each, handler)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def heeded() -> Iterator[None]:
    """Raise Preempted where such a signal comes. A trainer that saves first has handlers of its own while it trains."""

    def stop(*_: object) -> NoReturn:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # more of them change nothing
        raise Preempted

    with answered(dict.fromkeys(SIGNALS, stop)):
        yield
