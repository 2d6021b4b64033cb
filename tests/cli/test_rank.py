import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from a2a_cli.rank import main, over
from a2a_core.heartbeat import STOPPING

DONE = {"exit_code": 0}
WRONG = {"exit_code": 2, "problems": [{"message": "no such column", "hint": ""}], "lost": False}
LOST = {"exit_code": 1, "problems": [{"message": "rank 1 did not come", "hint": ""}], "lost": True}


@pytest.mark.parametrize(
    ("reports", "code"),
    [
        ([DONE, DONE], 0),  # and one of them aborted when all was over
        ([DONE, None], None),
        ([None, None], None),
        ([LOST, None], None),
        ([LOST, DONE], None),
        ([WRONG, LOST], 1),  # it would say so again
        ([None, WRONG], 1),
    ],
)
def test_what_ranks_that_are_started_again_have_to_do(tmp_path: Path, reports: list[Any], code: int | None) -> None:
    (tmp_path / "ranks").mkdir()
    for rank, found in enumerate(reports):
        if found is not None:
            (tmp_path / "ranks" / f"{rank}.json").write_text(json.dumps(found))
    assert over(tmp_path, 2) == code
    (tmp_path / "ranks" / STOPPING).touch()
    assert over(tmp_path, 2) == (0 if code == 0 else 1)


PARENT = """
import subprocess, sys
child = "import time; from a2a_cli.rank import end_with_parent; end_with_parent(); print('here', flush=True); time.sleep(60)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, start_new_session=True)
process.stdout.readline()
print(process.pid, flush=True)
process.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_rank_ends_with_whoever_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        rank = int(parent.stdout.readline())
        assert alive(rank)
        parent.kill()
        parent.wait()
    end = time.monotonic() + 30
    while alive(rank) and time.monotonic() < end:
        time.sleep(0.02)
    assert not alive(rank)


def alive(pid: int) -> bool:
    """Whether a process works; one that ended stays in the list until somebody asks for it."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_rank_reports_what_is_wrong_with_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "ranks").mkdir()
    (tmp_path / "recipe.toml").write_text("[trainr]\n")
    assert main([str(tmp_path)]) == 2
    found = json.loads((tmp_path / "ranks" / "1.json").read_text())
    assert "trainr" in found["problems"][0]["message"]
    assert not found["lost"]
