"""How many rows a rank can take at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from a2a_core.deep.memory import BACKENDS, SETTINGS, Measured, memory
from a2a_core.deep.report import Fit, Fitting, Memory
from a2a_core.deep.scaling import Traces

SPARED = 0.1
"""Share of a device left to its runtime, to the allocator and to kernels' own scratch memory."""
TURNS = 6
"""How often a reckoning may be wrong."""
MOST = 2**20
"""Rows that nobody takes at once."""


def fit(limit: int, traces: Traces, measured: Measured, ranks: int, installed: Mapping[str, bool]) -> Fit:
    """The most rows for each backend, and what to set."""
    room = int(limit * (1 - SPARED))

    def need(backend: str, several: int) -> Memory:
        return memory(backend, ranks, traces.reckoned(several), measured, installed[backend])

    most = settled(lambda backend, several: need(backend, several).peak, traces, room)
    found = []
    for backend, several in most.items():
        peak = need(backend, several or 1).peak
        found.append(Fitting(backend, 1 if backend == "single" else ranks, several, peak, installed[backend]))
    settings, advice = advised(found, measured.plan.batch_size)
    return Fit(limit, found, settings, advice)


def settled(peak: Callable[[str, int], int], traces: Traces, room: int) -> dict[str, int]:
    """Backend -> rows. The answers that are furthest apart are traced: where the reckoning holds there, it holds between."""
    for _ in range(TURNS):
        found = {backend: largest(partial(peak, backend), room, MOST) for backend in BACKENDS}
        if all(traces.right(max(1, each)) for each in {max(found.values()), min(found.values())}):
            return found
    traced = traces.known()
    return {backend: max((each for each in traced if peak(backend, each) <= room), default=0) for backend in BACKENDS}


def largest(peak: Callable[[int], int], room: int, most: int) -> int:
    """The most rows whose peak is within the room, by halving; 0 where one row is too many."""
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if peak(middle) <= room else (low, middle)
    return low


def advised(found: Sequence[Fitting], batch_size: int) -> tuple[dict[str, str | int | bool], str]:
    """The simplest installed backend that holds a row; the micro-batch is one that divides a rank's share of a step."""
    for each in found:
        if each.micro_batch and each.installed and batch_size % each.ranks == 0:
            micro = divisor(batch_size // each.ranks, each.micro_batch)
            settings = {**SETTINGS[each.backend], "trainer.micro_batch": micro}
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
