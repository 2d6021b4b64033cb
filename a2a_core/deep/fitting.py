"""How many rows a rank can take at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from a2a_core.deep.memory import BACKENDS, Measured, memory, rows_at_once
from a2a_core.deep.report import Fit, Fitting, Memory

if TYPE_CHECKING:
    from a2a_core.deep.tracing import Trace

SPARED = 0.1
"""Share of a device left to its runtime, to the allocator and to kernels' own scratch memory."""
TRIES = 24
"""Sizes that are measured for a backend, at most."""
CLOSE = 64
MOST = 2**20
"""Rows that nobody takes at once."""

Traced = Callable[[int], "Trace"]
"""Rows -> their trace; remembers."""


def fit(limit: int, traced: Traced, measured: Measured, ranks: int, installed: Mapping[str, bool]) -> Fit:
    """The most rows for each backend, and what to set."""
    found = []
    tried = {rows_at_once(backend, ranks, measured.plan) for backend in BACKENDS}  # these were traced already
    start = tried if len(tried) > 1 else {rows for each in tried for rows in (each, 2 * each)}
    for backend in BACKENDS:

        def need(several: int, backend: str = backend) -> Memory:
            return memory(backend, ranks, traced(several), measured, installed[backend])

        several = largest(lambda several: need(several).peak, int(limit * (1 - SPARED)), start, MOST)
        peak = need(several or 1).peak
        found.append(Fitting(backend, 1 if backend == "single" else ranks, several, peak, installed[backend]))
    settings, advice = advised(found, measured.plan.batch_size)
    return Fit(limit, found, settings, advice)


def largest(peak: Callable[[int], int], limit: int, start: Iterable[int], most: int) -> int:
    """The most rows whose peak is within the limit, to one in 64; 0 where one row is too many. `start` are two sizes, at least.

    Memory is the largest of a few straight lines in rows: two sizes give a line, and where it meets the limit is measured
    before it is an answer. Lines through what fits and what does not fall short of it, those through what does not go beyond.
    """
    known = {each: peak(each) for each in start}
    for turn in range(TRIES):
        low = max((each for each, found in known.items() if found <= limit), default=0)
        high = min((each for each, found in known.items() if found > limit), default=most + 1)
        if high - low <= 1 + low // CLOSE:
            break
        guess = straight(known, low, high, limit, turn)
        if high > most:  # all that was tried fits: further away each time
            guess = max(guess, low + (1 + low // CLOSE) * 4**turn) if turn else guess
        guess = min(max(guess, low + 1), high - 1)
        known[guess] = peak(guess)
    return min(max((each for each, found in known.items() if found <= limit), default=0), most)


def straight(known: Mapping[int, int], low: int, high: int, limit: int, turn: int) -> int:
    """Where a line through two sizes meets the limit."""
    beyond = sorted(each for each, found in known.items() if found > limit)[:2]
    first, second = (low, high) if low in known and high in known else sorted(known)[:2]
    if turn % 2 and len(beyond) == 1:
        return math.isqrt(max(1, low) * high)
    if turn % 2 and beyond:
        first, second = beyond
    slope = max(1.0, (known[second] - known[first]) / (second - first))
    return int(first + (limit - known[first]) / slope)


def advised(found: Sequence[Fitting], batch_size: int) -> tuple[dict[str, str | int], str]:
    """The simplest installed backend that holds a row; the micro-batch is one that divides a rank's share of a step."""
    for each in found:
        if each.micro_batch and each.installed and batch_size % each.ranks == 0:
            micro = divisor(batch_size // each.ranks, each.micro_batch)
            settings: dict[str, str | int] = {"backend.use": each.backend, "trainer.micro_batch": micro}
            if each.ranks > 1:
                settings["backend.processes"] = each.ranks
            return settings, ""
    other = next((each.backend for each in found if each.micro_batch), None)
    less = "train less of it (`freeze`), set `trainer.gradient_checkpointing = true`, or give it more memory or ranks"
    if other is None:
        return {}, f"nothing fits: {less}"
    return {}, f"only `{other}` fits, and no plugin that is installed offers it: {less}"


def divisor(share: int, most: int) -> int:
    """The largest number of rows that divides a rank's share of a step."""
    return max(each for each in range(1, min(share, most) + 1) if share % each == 0)
