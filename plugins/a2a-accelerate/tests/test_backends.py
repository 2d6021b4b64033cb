from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from a2a_accelerate.ddp import DdpBackend
from a2a_accelerate.single import SingleBackend
from a2a_core import A2AError, RunFailed
from a2a_core.recipe import load_recipe
from a2a_core.structures import Plan
from a2a_core.testing import suite

test_plugin = suite("a2a-accelerate")

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
@pytest.mark.parametrize("backend", [SingleBackend(device="cuda"), DdpBackend(device="cuda", processes=2)])
def test_a_gpu_that_is_not_there_is_an_error(backend: SingleBackend | DdpBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(A2AError, match="torch sees no GPU"):
        backend.setup()


def test_who_asks_one_process_for_several_is_told_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('[backend]\nuse = "single"\nprocesses = 2\n')
    with pytest.raises(A2AError, match='unknown key `processes`[^$]*set `backend.use = "ddp"`'):
        load_recipe(tmp_path / "recipe.toml", None)


def test_single_refuses_to_be_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(A2AError, match="started as 2 ranks"):
        SingleBackend().setup()
    with pytest.raises(A2AError, match="started as 2 ranks"):  # and before any of them has made a folder
        SingleBackend().agree("run", lambda: pytest.fail("it was chosen"))


def test_single_is_what_runs() -> None:
    right = {"world_size": 1, "distributed_type": "NO", "device": "cpu"}
    SingleBackend(device="cpu").verify(right)
    for key, value in (("world_size", 2), ("distributed_type", "MULTI_CPU"), ("device", "cuda")):
        with pytest.raises(RunFailed, match=key):
            SingleBackend(device="cpu").verify({**right, key: value})


@no_gpu
def test_ddp_without_gpus_wants_a_number() -> None:
    with pytest.raises(A2AError, match="set `backend.processes`"):
        DdpBackend().ranks()
    assert DdpBackend(processes=3).ranks() == 3


def test_ddp_joins_ranks_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert not DdpBackend(processes=2).joined()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert DdpBackend(processes=2).joined()


@no_gpu
def test_more_ranks_than_cores_are_noted_and_far_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_accelerate.ranks.cores", lambda: 2)
    assert DdpBackend(processes=32).ranks() == 32
    with pytest.raises(A2AError, match=r"`backend.processes` = 33, and this machine has 2 core\(s\)"):
        DdpBackend(processes=33).ranks()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert "4 threads of this machine's ranks share 2 core" in next(DdpBackend().notes())
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert not list(DdpBackend().notes())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 2, "rendezvous": "node1"}, "host:port"),
        ({"nodes": 2, "rendezvous": ":29500"}, "host:port"),
        ({"nodes": 2, "rendezvous": "node1:http"}, "host:port"),
        ({"nodes": 2, "rendezvous": "node1:70000"}, "host:port"),
        ({"rendezvous": "node1:29500"}, "`nodes` = 1"),
    ],
)
def test_where_machines_meet(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DdpBackend(**options)


def test_machines_need_a_place_to_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DdpBackend(nodes=2, rendezvous="node1:29500").place() == "node1:29500"
    with pytest.raises(A2AError, match="nobody says where they meet"):
        DdpBackend(nodes=2).machines()
    monkeypatch.setenv("SLURM_STEP_NODELIST", "gpu[03-04]")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    assert DdpBackend(nodes=2).place() == "gpu03:24711"


class Trainer:
    def __init__(self, rows: int) -> None:
        self.rows = rows

    def plan(self) -> Plan:
        return Plan(self.rows)


@pytest.mark.parametrize(("rows", "processes", "nodes", "near"), [(8, 3, 1, 9), (2, 4, 1, 4), (8, 2, 3, 6)])
def test_a_batch_that_does_not_divide(rows: int, processes: int, nodes: int, near: int) -> None:
    backend = DdpBackend(processes=processes, nodes=nodes, rendezvous="a:1" if nodes > 1 else "")
    ((key, problem),) = backend.misfits(SimpleNamespace(trainer=Trainer(rows)))
    assert key == "processes"
    assert f"`trainer.batch_size` = {rows} does not divide by {processes * nodes} ranks" in problem.message
    assert f"{near} would do" in problem.hint
    assert not list(backend.misfits(SimpleNamespace(trainer=Trainer(near))))
    assert not list(DdpBackend().misfits(SimpleNamespace(trainer=Trainer(rows))))


def test_a_rank_without_a_word_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(A2AError, match="without LOCAL_RANK and MASTER_ADDR and MASTER_PORT"):
        DdpBackend(device="cpu").setup()
