"""Starting ranks through torch's elastic agent; success and failure are what the ranks themselves reported."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.distributed.elastic.agent.server import WorkerSpec
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import DynamicRendezvousHandler, RendezvousTimeout

from a2a_accelerate.judging import Ended, judge
from a2a_accelerate.stores import held
from a2a_core.heartbeat import STOPPING
from a2a_core.preemption import answered
from a2a_core.training import main_rank

if TYPE_CHECKING:
    from a2a_accelerate.ranks import RanksBackend

FORWARDED = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGHUP: signal.SIGTERM,  # a terminal that is closed is no reason to lose what was trained
}
"""What comes here, and what ranks are sent for it."""
SOON = 10.0
"""Seconds for which the machine that holds the store waits for the others where something went wrong: they find out."""
AT_ONCE = 30
"""Seconds that ranks have to end after a second signal."""


SURROUNDINGS = {
    "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # each attempt has a new store: old addresses lead nowhere
    "TORCHELASTIC_SIGNALS_TO_HANDLE": "",  # `forwarded` does
}
"""What torch's agent, and its ranks after it, find in the environment."""


def launch(backend: RanksBackend, command: Sequence[str], folder: Path) -> None:
    """Run `command` as this machine's ranks of a run. Each leaves `ranks/<rank>.json` in `folder`; logs go to `logs/`."""
    ranks, machines = backend.ranks(), backend.machines()
    store, address = (machines.store, machines.address) if machines else (held("localhost", 0, backend.timeout), "localhost")
    reports = folder / "ranks"
    if main_rank():  # with several machines, none has ranks before all agents have met
        shutil.rmtree(reports, ignore_errors=True)
        reports.mkdir(parents=True)
    silence("torch.distributed.elastic")  # what the ranks report is clearer
    handler = DynamicRendezvousHandler.from_backend(
        folder.name,
        store,
        C10dRendezvousBackend(store, folder.name),
        backend.nodes,
        backend.nodes,
        address,
        RendezvousTimeout(join=timedelta(seconds=backend.timeout)),
    )
    spec = WorkerSpec(
        role="rank",
        local_world_size=ranks,
        entrypoint=command[0],
        args=tuple(command[1:]),
        rdzv_handler=handler,
        max_restarts=backend.max_restarts,
        local_addr=address,
    )
    logs = DefaultLogsSpecs(str(folder / "logs"), redirects=dict.fromkeys(range(1, ranks), Std.ALL))
    agent = LocalElasticAgent(spec, logs, exit_barrier_timeout=1, shutdown_timeout=AT_ONCE)
    ended = Ended(folder, backend.max_restarts, backend.rendezvous)
    with surrounded(OMP_NUM_THREADS=str(backend.threads), **SURROUNDINGS), forwarded(agent, reports / STOPPING, ended):
        run(agent, ended)
        if machines:  # the store has to last for as long as another machine's agent asks it
            with suppress(SignalException):
                machines.leave(SOON if ended.failures or ended.alone else backend.timeout)
    handler.shutdown()
    judge(ended)


@contextmanager
def surrounded(**values: str) -> Iterator[None]:
    """The environment, changed; behind it nothing else of this process is to meet other ways."""
    before = {name: os.environ.get(name) for name in values}
    os.environ |= values
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def silence(package: str) -> None:
    """Nothing but what is critical from its modules: each of torch's has a level of its own."""
    for name in [package, *logging.root.manager.loggerDict]:
        if f"{name}.".startswith(f"{package}."):
            logging.getLogger(name).setLevel(logging.CRITICAL)


def run(agent: LocalElasticAgent, ended: Ended) -> None:
    """Until this machine's ranks have ended for good."""
    try:
        result = agent.run()
        ended.failures = dict(result.failures) if result else {}
    except SignalException as told:
        ended.signal = told.sigval
    except (RendezvousError, RuntimeError) as error:  # torch's own where a store's connection broke
        ended.alone = error
    workers = agent.get_worker_group().workers
    ended.world = max(0, *(worker.world_size for worker in workers))


@contextmanager
def forwarded(agent: LocalElasticAgent, stopping: Path, ended: Ended) -> Iterator[None]:
    """Signals go to the ranks, which save and end; the second Ctrl-C ends them, and so does one before there are any.

    torch's own handler would send it to their whole process groups, and a data loader's workers know no checkpoint.
    """

    def forward(number: int, _: Any) -> None:
        pids = [worker.id for worker in agent.get_worker_group().workers if worker.id]
        again, ended.signal = bool(ended.signal), number
        if not pids or (again and number == signal.SIGINT):
            raise SignalException(f"{signal.Signals(number).name} came", signal.Signals(number))
        stopping.touch()  # ranks that die of it are not started again
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, FORWARDED[signal.Signals(number)])

    ignored = {each for each in FORWARDED if signal.getsignal(each) == signal.SIG_IGN}  # as `nohup` leaves SIGHUP
    with answered(dict.fromkeys(FORWARDED.keys() - ignored, forward)):
        yield
