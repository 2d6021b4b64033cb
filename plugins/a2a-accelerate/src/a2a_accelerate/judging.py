"""How a launch ended, out of what each rank reported, or did not."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a2a_core import RunFailed, heartbeat
from a2a_core.preemption import Preempted


class Ended:
    """What is known of a launch on this machine when its ranks are gone."""

    def __init__(self, folder: Path, max_restarts: int, rendezvous: str) -> None:
        self.folder, self.max_restarts, self.rendezvous = folder, max_restarts, rendezvous
        self.world = 0
        """Ranks on all machines; 0 when they never met."""
        self.failures: Mapping[int, Any] = {}
        """torch's ProcessFailure of those of this machine's ranks that ended first."""
        self.signal: int = 0
        """That it was told to stop by; 0: it was not."""
        self.alone: Exception | None = None
        """Why the machines did not meet, or not again."""


def judge(ended: Ended) -> None:
    """Raise what went wrong: a rank's own error first, then who died, then who could not meet the others."""
    reports = [heartbeat.report(ended.folder, rank) for rank in range(ended.world)]
    for found in reports:
        if found.get("problems") and not found.get("lost"):
            raise heartbeat.error_of(found)
    silent = [rank for rank, found in enumerate(reports) if not found]
    if ended.signal and (silent or not reports):
        raise Preempted if ended.signal != signal.SIGINT else KeyboardInterrupt
    dead = [rank for rank in ended.failures if silent and rank < len(reports) and not reports[rank].get("problems")]
    first = [rank for rank in dead if ended.failures[rank].exitcode != -signal.SIGTERM]  # torch's agent ends the others so
    if first or dead:
        raise RunFailed("; ".join(death(ended, rank) for rank in first or dead), hint=advice(ended))
    for found in reports:
        if found.get("problems"):
            raise heartbeat.error_of(found)
    if ended.alone is not None:
        text = f"the machines did not meet again at {ended.rendezvous}: {str(ended.alone) or type(ended.alone).__name__}"
        raise RunFailed(text, hint=advice(ended))
    if silent or not reports:
        raise RunFailed(f"rank(s) {silent} ended without a word", hint=advice(ended))


def death(ended: Ended, rank: int) -> str:
    """Which rank, how, and where it was."""
    code = ended.failures[rank].exitcode
    how = f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"
    at = heartbeat.place(heartbeat.read(ended.folder, rank))
    if code != -signal.SIGABRT:
        return f"rank {rank} {how}: {at}"
    missing = heartbeat.missing(ended.folder, ended.world)
    others = "; ".join(f"rank {other}, {heartbeat.place(state)}" for other, state in missing if other != rank)
    return f"rank {rank} {how}: {at}" + (f"; NCCL ends ranks that waited too long, here for {others}" if others else "")


def advice(ended: Ended) -> str:
    """Where to look, and how to go on."""
    again = f" (ranks were started again {ended.max_restarts} time(s))" if ended.max_restarts else ""
    own = "" if ended.max_restarts else "; `backend.max_restarts` starts ranks again by itself"
    return f"their output: {ended.folder / 'logs'}{again}; go on with `a2a train --resume {ended.folder}`{own}"
