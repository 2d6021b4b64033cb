import sys
from pathlib import Path

import pytest

from a2a_accelerate.ddp import DdpBackend
from a2a_accelerate.launch import launch
from a2a_core import A2AError, RunFailed

RANK = """
import json, os, pathlib, signal, sys, time
rank = int(os.environ["RANK"])
folder = pathlib.Path(sys.argv[1])
def leave(**ended):
    (folder / "ranks" / f"{rank}.json").write_text(json.dumps(ended))
"""


def run(tmp_path: Path, body: str) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK + body)
    folder = tmp_path / "run"
    folder.mkdir()
    launch(DdpBackend(processes=2, device="cpu"), [sys.executable, str(script), str(folder)], folder)


def test_ranks_run_beside_one_another(tmp_path: Path) -> None:
    body = 'leave(exit_code=0, world=os.environ["WORLD_SIZE"], threads=os.environ["OMP_NUM_THREADS"])'
    run(tmp_path, body)
    assert {path.name for path in (tmp_path / "run" / "ranks").iterdir()} == {"0.json", "1.json"}
    assert '"world": "2"' in (tmp_path / "run" / "ranks" / "1.json").read_text()
    assert '"threads": "1"' in (tmp_path / "run" / "ranks" / "1.json").read_text()


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
