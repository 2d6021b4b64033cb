"""Where ranks meet (as their launcher has set MASTER_ADDR), and where machines do (`backend.rendezvous`)."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any

from a2a_accelerate.meeting import OFTEN, Meeting
from a2a_core import A2AError, RunFailed
from a2a_core.heartbeat import RankLost

if TYPE_CHECKING:
    from torch.distributed import Store

NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher sets for each rank."""
GRACE = 1.0
"""Seconds for torch to find out by itself that time is up."""


def of_ranks(timeout: float) -> Meeting:
    """All ranks of this run."""
    absent = [name for name in NEEDED if name not in os.environ]
    if absent:
        raise A2AError(f"this process was started as one of several ranks, but without {' and '.join(absent)}")
    return ranks_at(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout)


@cache
def ranks_at(host: str, port: int, timeout: float) -> Meeting:
    """One for each place: its store stays open for as long as the process."""
    from torch.distributed import PrefixStore

    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    agents = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun holds one store for all attempts
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if agents else "0"
    opened = held(host, port, timeout) if rank == 0 and not agents else reached(host, port, timeout)
    meeting = Meeting(PrefixStore(f"a2a/{attempt}", opened), f"{host}:{port}", "rank", rank, ranks, timeout)
    meeting.memory = PrefixStore("a2a", opened) if agents else None
    return meeting


class Machines(Meeting):
    """All machines of this run; `address` is this one's, as the others see it."""

    def __init__(self, store: Store, where: str, several: int, timeout: float, address: str) -> None:
        self.address = address
        super().__init__(store, where, "machine", store.add("came", 1) - 1, several, timeout)
        if self.late:
            tell(f"{where} has {several} machines already: this one goes on in the place of one that is gone")
            return
        tell(f"machine {self.mine + 1} of {several} is here; they meet at {where}")
        cards = [json.loads(card) for card in self.everyone("card", json.dumps([address, os.getpid(), self.mine]))]
        self.mine = [number for _, _, number in sorted(cards)].index(self.mine)  # torch numbers their ranks in this order
        if self.mine:
            tell(f"all machines are here; {min(cards)[0]} shows how far the run is")

    def incomplete(self, absent: list[int]) -> RankLost:
        """They are numbered as they come: nobody knows the names of those who did not."""
        text = f"{self.several - len(absent)} of {self.several} machines came to {self.where} within {self.timeout:g} s"
        return RankLost(text, hint="run the same `a2a train` on the others (`backend.nodes`), or raise `backend.timeout`")

    def leave(self, seconds: float) -> None:
        """The one that holds the store goes last, or after so many seconds."""
        until = time.monotonic() + seconds
        with suppress(RuntimeError):
            left = self.store.add("left", 1)
            while left < self.several and time.monotonic() < until:
                time.sleep(OFTEN)
                left = self.store.add("left", 0)


@cache
def machines_at(rendezvous: str, nodes: int, timeout: float) -> Machines:
    """Hold the store if `rendezvous` is this machine's and nobody does yet; wait for all of them."""
    host, _, port = rendezvous.rpartition(":")
    store: Any = None
    if here(host):
        with suppress(RunFailed):
            store = held(host, int(port), timeout)
    return Machines(store or reached(host, int(port), timeout), rendezvous, nodes, timeout, facing(host))


def held(host: str, port: int, timeout: float) -> Store:
    """A new store in this process; port 0: one that is free."""
    from torch.distributed import TCPStore

    long = timedelta(seconds=max(60.0, timeout))
    try:
        return TCPStore(host, port, is_master=True, multi_tenant=True, wait_for_workers=False, timeout=long)
    except RuntimeError as error:
        raise RunFailed(f"ranks cannot meet at {host}:{port}: {first_line(error)}", hint="is the port taken?") from error


def reached(host: str, port: int, timeout: float) -> Store:
    """Another's store; RankLost when nobody answers."""
    until = time.monotonic() + timeout
    while True:
        left = max(0.1, until - time.monotonic())
        try:  # torch itself waits where no Ctrl-C comes through, and prints pages of C++
            socket.create_connection((host, port), min(5.0, left)).close()
            store = connected(host, port, max(1.0, left))
        except (OSError, RuntimeError) as error:
            if time.monotonic() > until:
                hint = f"that machine has to run, and be reached under this name ({first_line(error)})"
                raise RankLost(f"nobody answered at {host}:{port} within {timeout:g} s", hint=hint) from error
            time.sleep(OFTEN)
            continue
        store.set_timeout(timedelta(seconds=max(60.0, timeout)))
        return store


def connected(host: str, port: int, seconds: float) -> Store:
    """A store that answers; TimeoutError where something else has the port and is silent, for which torch waits for ever."""
    from torch.distributed import TCPStore

    found: Future[Store] = Future()

    def connect() -> None:
        try:
            found.set_result(TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=seconds)))
        except RuntimeError as error:
            found.set_exception(error)

    Thread(target=connect, daemon=True).start()
    try:
        return found.result(seconds + GRACE)
    except TimeoutError as error:
        raise TimeoutError("the port is taken, by something else") from error


def tell(text: str) -> None:
    """A word before there is a run that could have a reporter."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def first_line(error: Exception) -> str:
    """Of what torch says; the rest is C++."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def here(host: str) -> bool:
    """Whether an address is one of this machine: then a socket can be bound to it."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, _, _, _, address in found:
        with socket.socket(family, socket.SOCK_STREAM) as tried, suppress(OSError):
            tried.bind((address[0], 0))
            return True
    return False


def facing(host: str) -> str:
    """This machine's own address as another one sees it; its name may be known to nobody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect((host, 9))  # sends nothing
        return str(probe.getsockname()[0])
    return socket.gethostname()
