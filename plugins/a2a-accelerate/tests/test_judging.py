import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from a2a_accelerate.judging import Ended, judge
from a2a_core import A2AError, RunFailed
from a2a_core.preemption import Preempted

LOST = {"exit_code": 1, "lost": True, "problems": [{"message": "ranks could not meet", "hint": ""}]}


def ended(folder: Path, *reports: dict[str, Any] | None, steps: tuple[int, ...] = (), **codes: int) -> Ended:
    """Of ranks that reported this (None: nothing), were at these steps, and ended with these codes (r0, r1 …)."""
    (folder / "ranks").mkdir()
    for rank, found in enumerate(reports):
        if found is not None:
            (folder / "ranks" / f"{rank}.json").write_text(json.dumps(found))
    for rank, step in enumerate(steps):
        at = {"host": "node1", "step": step, "rows": [f"row {rank}"], "doing": "step", "time": 0.0}
        (folder / "ranks" / f"{rank}.at").write_text(json.dumps(at) + "\n")
    found = Ended(folder, 0, "node1:29500")
    found.world = len(reports)
    found.failures = {int(name[1:]): SimpleNamespace(exitcode=code) for name, code in codes.items()}
    return found


def test_all_is_well(tmp_path: Path) -> None:
    judge(ended(tmp_path, {"exit_code": 0}, {"exit_code": 0}, r1=-signal.SIGABRT))


def test_the_rank_that_died_of_itself_is_named_before_those_who_missed_it(tmp_path: Path) -> None:
    killed = ended(tmp_path, LOST, None, None, steps=(4, 4, 4), r0=1, r1=-signal.SIGKILL, r2=-signal.SIGTERM)
    with pytest.raises(RunFailed) as error:
        judge(killed)
    assert "rank 1 was killed (SIGKILL): on node1, in step 4 with rows row 1" in str(error.value)
    assert "rank 2" not in str(error.value)
    assert "`backend.max_restarts` starts ranks again" in str(error.value)


def test_ranks_that_nccl_ended_waited_for_the_one_behind(tmp_path: Path) -> None:
    waited = ended(tmp_path, None, None, None, steps=(7, 6, 7), r0=-signal.SIGABRT, r1=-signal.SIGTERM)
    with pytest.raises(
        RunFailed, match=r"rank 0 was killed \(SIGABRT\).*here for .*rank 1, on node1, in step 6 with rows row 1"
    ):
        judge(waited)


def test_who_could_not_meet_says_so_when_nobody_died(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="ranks could not meet"):
        judge(ended(tmp_path, LOST, LOST, r0=1, r1=1))


def test_machines_that_do_not_come_back(tmp_path: Path) -> None:
    alone = ended(tmp_path, None, None)
    alone.alone = TimeoutError()
    with pytest.raises(RunFailed, match="the machines did not meet again at node1:29500: TimeoutError"):
        judge(alone)


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Preempted), (signal.SIGHUP, Preempted)]
)
def test_what_was_told_to_stop(tmp_path: Path, number: int, kind: type[BaseException]) -> None:
    stopped = ended(tmp_path, None, None, r0=-number, r1=-number)
    stopped.signal = number
    with pytest.raises(kind) as error:
        judge(stopped)
    assert type(error.value) is kind


def test_a_mistake_comes_before_everything(tmp_path: Path) -> None:
    mistake = {"exit_code": 2, "table": "data.train", "problems": [{"message": "no such column", "hint": "look"}]}
    with pytest.raises(A2AError, match="no such column") as error:
        judge(ended(tmp_path, LOST, mistake, None, r0=1, r1=2, r2=-signal.SIGTERM))
    assert (type(error.value), error.value.table) == (A2AError, "data.train")
