"""What is refused before anything runs."""

from types import SimpleNamespace
from typing import Any

import divided_toy as toy
import pytest
import torch

from a2a_core import A2AError, RunFailed
from a2a_core.structures import Plan
from a2a_fsdp.fsdp import OPTIMIZERS, FsdpBackend


def recipe(optimizer: str = "adamw_torch", precision: str = "float32") -> Any:
    trainer = SimpleNamespace(optimizer=optimizer, plan=lambda: Plan(8, 0, precision, False))
    return SimpleNamespace(trainer=trainer)


@pytest.mark.parametrize(
    ("backend", "given", "key", "told"),
    [
        (FsdpBackend(), recipe("adafactor"), "use", "adafactor cannot update parameters that are divided"),
        (FsdpBackend(gather_halves=True), recipe(), "gather_halves", "and that is float32"),
        (FsdpBackend(offload=True, device="cpu"), recipe(), "offload", "ranks compute on the CPU"),
        (FsdpBackend(offload=True), recipe(precision="fp16"), "offload", "the loss scaler of fp16"),
        (FsdpBackend(processes=3), recipe(), "processes", "does not divide by 3 ranks"),
    ],
)
def test_what_cannot_be_is_said_where_the_recipe_is_read(backend: FsdpBackend, given: Any, key: str, told: str) -> None:
    ((found, problem),) = backend.misfits(given)
    assert found == key
    assert told in problem.message
    assert problem.hint


def test_what_can_be_is_not_refused() -> None:
    for optimizer in OPTIMIZERS:
        assert not list(FsdpBackend(processes=2).misfits(recipe(optimizer)))
    assert not list(FsdpBackend(gather_halves=True).misfits(recipe(precision="bf16")))


def test_what_one_kernel_cannot_update_is_refused() -> None:
    """A number, beside parameters that are divided; see divided_toy.py."""
    for given in (recipe("adamw_torch_fused"), recipe(precision="fp16")):
        with pytest.raises(A2AError) as error:
            FsdpBackend().refuse(given, toy.built())
        assert error.value.problems[0].message.endswith("at once: losses.fit.scale")
    FsdpBackend().refuse(recipe(), toy.built())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_offload_without_gpus_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a2a_accelerate.RanksBackend.setup", lambda _: None)
    with pytest.raises(A2AError, match="ranks compute on the CPU"):
        FsdpBackend(offload=True).setup()


def test_another_wrapper_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where accelerate makes it data parallelism: whether parameters are divided, see test_holding.py."""
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    backend = FsdpBackend(processes=2, device="cpu")
    right = {"world_size": 2, "device": "cpu", "wrapper": "FSDPA2AModel"}
    backend.verify(right)
    with pytest.raises(RunFailed, match="wrapper is 'DistributedDataParallel'"):
        backend.verify({**right, "wrapper": "DistributedDataParallel"})
