import logging
import os
import signal
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from a2a_accelerate.ddp import DdpBackend
from a2a_accelerate.launch import launch
from a2a_accelerate.stores import held
from a2a_core import A2AError, RunFailed

RANK = """
import json, os, pathlib, signal, sys, time
rank = int(os.environ["RANK"])
folder = pathlib.Path(sys.argv[1])
def leave(**ended):
    (folder / "ranks" / f"{rank}.json").write_text(json.dumps(ended))
"""


def run(tmp_path: Path, body: str, **options: Any) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK + body)
    folder = tmp_path / "run"
    folder.mkdir()
    launch(DdpBackend(processes=2, device="cpu", **options), [sys.executable, str(script), str(folder)], folder)


def test_ranks_run_beside_one_another(tmp_path: Path) -> None:
    body = 'leave(exit_code=0, world=os.environ["WORLD_SIZE"], threads=os.environ["OMP_NUM_THREADS"])'
    run(tmp_path, body)
    assert {path.name for path in (tmp_path / "run" / "ranks").iterdir()} == {"0.json", "1.json"}
    assert '"world": "2"' in (tmp_path / "run" / "ranks" / "1.json").read_text()
    assert '"threads": "1"' in (tmp_path / "run" / "ranks" / "1.json").read_text()
    assert "TORCH_DISABLE_SHARE_RDZV_TCP_STORE" not in os.environ, "what other launchers of this process would go by"


@pytest.mark.parametrize(("code", "kind"), [(2, A2AError), (1, RunFailed)])
def test_a_ranks_own_error_is_what_is_raised(tmp_path: Path, code: int, kind: type[A2AError]) -> None:
    body = f'leave(exit_code={code}, problems=[dict(message="no such column", hint="look")]); sys.exit({code})'
    with pytest.raises(A2AError, match="no such column") as error:
        run(tmp_path, body)
    assert type(error.value) is kind
    assert "look" in str(error.value)


def test_a_rank_that_dies_is_named(tmp_path: Path) -> None:
    body = "os.kill(os.getpid(), signal.SIGKILL) if rank == 1 else time.sleep(60)"
    with pytest.raises(RunFailed, match=r"rank 1 was killed \(SIGKILL\): it never began"):
        run(tmp_path, body)


def test_an_abort_after_all_is_done_is_no_failure(tmp_path: Path) -> None:
    both = "while len(list((folder / 'ranks').glob('*.json'))) < 2: time.sleep(0.01)"
    run(tmp_path, f"leave(exit_code=0)\n{both}\nos.abort()")


def test_other_ranks_output_goes_to_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, 'print(f"this is rank {rank}", flush=True); leave(exit_code=0)')
    shown = capfd.readouterr().out
    assert "this is rank 0" in shown
    assert "this is rank 1" not in shown
    assert any("this is rank 1" in path.read_text() for path in (tmp_path / "run" / "logs").rglob("stdout.log"))


def test_ranks_are_started_again(tmp_path: Path) -> None:
    body = """
(folder / f"began-{rank}-{os.environ['TORCHELASTIC_RESTART_COUNT']}").touch()
if rank == 1 and not (folder / "died").exists():
    (folder / "died").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    time.sleep(60)
leave(exit_code=0)
"""
    run(tmp_path, body, max_restarts=1)
    assert {path.name for path in (tmp_path / "run").glob("began-*")} >= {"began-1-0", "began-0-1", "began-1-1"}
    assert {path.name for path in (tmp_path / "run" / "ranks").iterdir()} == {"0.json", "1.json"}


def test_not_more_often_than_was_asked_for(tmp_path: Path) -> None:
    body = '(folder / f"{time.time()}.{rank}").touch(); rank == 1 and os.kill(os.getpid(), signal.SIGKILL); time.sleep(60)'
    with pytest.raises(RunFailed, match=r"rank 1 was killed \(SIGKILL\)") as error:
        run(tmp_path, body, max_restarts=2)
    assert len(list((tmp_path / "run").glob("*.1"))) == 3
    assert "ranks were started again 2 time(s)" in str(error.value)


def test_a_rank_that_lost_another_is_heard_after_the_one_that_knows_why(tmp_path: Path) -> None:
    body = """
leave(exit_code=1, lost=rank == 0, problems=[dict(message=f"said by {rank}", hint="")])
while len(list((folder / "ranks").glob("*.json"))) < 2: time.sleep(0.01)
sys.exit(1)
"""
    with pytest.raises(RunFailed, match="said by 1"):
        run(tmp_path, body)


STOPS = """
def stop(number, _):
    leave(exit_code=0, signal=signal.Signals(number).name, ended=os.waitpid(worker, os.WNOHANG)[0])
    sys.exit(0)
worker = os.fork()
if worker == 0:  # like a data loader's, which a signal to the whole group would end
    time.sleep(2)
    os._exit(0)
signal.signal(signal.SIGUSR1, stop)
(folder / f"ready-{rank}").touch()
time.sleep(60)
"""


def told(folder: Path, *numbers: signal.Signals) -> None:
    """Send these to this process, once both ranks can take them."""
    while len(list(folder.glob("ready-*"))) < 2:
        time.sleep(0.02)
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(0.3)


def test_a_signal_reaches_the_ranks_and_starts_none_again(tmp_path: Path) -> None:
    thread = Thread(target=told, args=(tmp_path / "run", signal.SIGUSR1))
    thread.start()
    run(tmp_path, STOPS, max_restarts=1)
    thread.join()
    reports = [(tmp_path / "run" / "ranks" / f"{rank}.json").read_text() for rank in range(2)]
    assert all('"signal": "SIGUSR1", "ended": 0' in report for report in reports)
    assert (tmp_path / "run" / "ranks" / "stopping").exists()


def test_the_second_signal_ends_them(tmp_path: Path) -> None:
    thread = Thread(target=told, args=(tmp_path / "run", signal.SIGINT, signal.SIGINT))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "signal.signal(signal.SIGINT, lambda *_: signal.signal(signal.SIGINT, signal.SIG_DFL))" + STOPS)
    thread.join()
    assert not logging.getLogger("torch.distributed.elastic.agent.server.api").isEnabledFor(logging.WARNING)  # nor says more


def test_ctrl_c_twice_ends_the_wait_for_other_machines_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Others:
        """Machines, of which the others do not end."""

        store, address = held("localhost", 0, 10.0), "localhost"

        def leave(self, seconds: float) -> None:
            assert seconds == 60.0
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("it still waits")

    monkeypatch.setattr(DdpBackend, "machines", lambda _: Others())
    run(tmp_path, "leave(exit_code=0)", timeout=60.0)
