import pytest
import torch

from a2a_accelerate.ddp import DdpBackend
from a2a_accelerate.single import SingleBackend
from a2a_core import A2AError, RunFailed
from a2a_core.testing import suite

test_plugin = suite("a2a-accelerate")

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
@pytest.mark.parametrize("backend", [SingleBackend(device="cuda"), DdpBackend(device="cuda", processes=2)])
def test_a_gpu_that_is_not_there_is_an_error(backend: SingleBackend | DdpBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(A2AError, match="torch sees no GPU"):
        backend.setup()


def test_single_refuses_to_be_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(A2AError, match="started as 2 ranks"):
        SingleBackend().setup()


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
