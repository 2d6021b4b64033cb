import json
import os
from pathlib import Path
from typing import Any

import pytest

from a2a_core import A2AError, RunFailed, heartbeat


@pytest.fixture
def ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`ranks(0, 1)` is rank 0 of 2 from here on."""
    monkeypatch.setattr(heartbeat, "PATIENCE", 0.2)

    def become(rank: int, several: int) -> Path:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(several))
        return tmp_path

    return become


def write(folder: Path, rank: int, **state: Any) -> None:
    (folder / "ranks").mkdir(exist_ok=True)
    known = {"host": "node1", "pid": 1, "step": None, "doing": "step", "time": 0.0, "rows": [], "more": 0}
    (folder / "ranks" / f"{rank}.at").write_text(json.dumps(known | state) + "\n")


def fail(folder: Path, error: Exception, *beats: tuple[int, list[str]]) -> None:
    """What a rank does whose training ends so."""
    with heartbeat.watched(folder):
        for step, rows in beats:
            heartbeat.beat(step, rows)
        raise error


def test_a_rank_says_where_it_is(ranks: Any) -> None:
    folder = ranks(1, 2)
    with heartbeat.watched(folder):
        assert heartbeat.read(folder, 1)["doing"] == "starting"
        heartbeat.beat(1234567, [f"a-long-name-of-a-row-{number}" for number in range(20)])
        heartbeat.beat(2, ["a"])  # shorter than what stands there
        found = heartbeat.read(folder, 1)
        assert (found["step"], found["rows"], found["more"], found["pid"]) == (2, ["a"], 0, os.getpid())
    assert heartbeat.read(folder, 1)["doing"] == "done"
    heartbeat.beat(3, [])  # nobody watches
    assert heartbeat.read(folder, 1)["step"] == 2


def test_a_process_alone_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RuntimeError, match="gloo/"):
        fail(tmp_path, RuntimeError("gloo/transport: as it was"), (1, ["a"]))
    assert not (tmp_path / "ranks").exists()


def test_the_rank_that_does_not_wait_is_the_one(ranks: Any) -> None:
    folder = ranks(0, 3)
    write(folder, 1, step=7, rows=["x", "y"], more=3)
    write(folder, 2, step=7, doing="waiting")
    told = RuntimeError("[/somewhere/gloo/pair.cc:5] Timed out waiting 5000ms for recv. Ask others")
    with pytest.raises(heartbeat.RankLost) as error:
        fail(folder, told, (7, ["z"]))
    said = str(error.value)
    assert "rank 1 did not come: last seen on node1, in step 7 with rows x, y and 3 more" in said
    assert "rank 0 was told: Timed out waiting 5000ms for recv; go on with" in said
    assert "rank 2" not in said
    assert heartbeat.read(folder, 0)["doing"] == "waiting"


def test_of_ranks_that_all_wait_it_is_the_one_behind(ranks: Any) -> None:
    folder = ranks(0, 3)
    for rank, step in ((0, 7), (1, 6), (2, 7)):
        write(folder, rank, step=step, doing="waiting")
    assert [rank for rank, _ in heartbeat.missing(folder, 3)] == [1]


def test_a_rank_that_failed_or_never_began_is_told_as_such(ranks: Any) -> None:
    folder = ranks(0, 2)
    with pytest.raises(A2AError, match="no such column"):
        fail(folder, A2AError("no such column"))
    ranks(1, 2)
    with pytest.raises(RunFailed, match=r"rank 0 failed \(on .*, before its first step\): no such column"):
        fail(folder, RuntimeError("[gloo/pair.cc:9] Connection closed by peer"))
    (folder / "ranks" / "0.at").unlink()
    with pytest.raises(RunFailed, match="rank 0 did not come: it never began"):
        fail(folder, RuntimeError("NCCL error"))


def test_who_knows_already_that_another_is_lost_waits(ranks: Any) -> None:
    folder = ranks(0, 2)
    with pytest.raises(heartbeat.RankLost, match="waited for: 1"):
        fail(folder, heartbeat.RankLost("waited for: 1"))
    assert [rank for rank, _ in heartbeat.missing(folder, 2)] == [1]


def test_other_errors_stay_what_they_are(ranks: Any) -> None:
    folder = ranks(0, 2)
    with pytest.raises(RuntimeError, match="Connection reset by peer"):  # by a server that has the data, say
        fail(folder, RuntimeError("Connection reset by peer"))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        fail(folder, RuntimeError("shapes cannot be multiplied"))
    assert heartbeat.read(folder, 0)["error"] == "RuntimeError: shapes cannot be multiplied"
