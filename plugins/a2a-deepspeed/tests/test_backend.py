import os
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from a2a_core import A2AError, RunFailed
from a2a_core.recipe import Recipe
from a2a_core.structures import Plan
from a2a_deepspeed.engine import verify
from a2a_deepspeed.zero import DeepSpeedBackend

NONE = cast("Recipe", None)


def asked(**options: Any) -> Recipe:
    trainer = SimpleNamespace(plan=lambda: Plan(8), **options)
    return cast("Recipe", SimpleNamespace(trainer=trainer))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adafactor"}, "`trainer.optimizer` = adafactor looks at parameters one by one"),
        ({"precision": "fp16"}, "needs a loss scaler"),
        ({"compile": True}, "cannot be compiled"),
    ],
)
def test_what_it_cannot_do_is_said_of_the_recipe(options: dict[str, Any], message: str) -> None:
    ((_, problem),) = DeepSpeedBackend(processes=2).misfits(asked(**options))
    assert message in problem.message
    assert problem.hint
    assert not list(DeepSpeedBackend(processes=2).misfits(asked(optimizer="sgd", precision="bf16", compile=False)))


def test_whole_parameters_may_have_any_optimizer() -> None:
    assert not list(DeepSpeedBackend(processes=2, stage=0).misfits(asked(optimizer="adafactor")))


@pytest.mark.parametrize("options", [{"stage": 0, "offload_optimizer": True}, {"stage": 2, "offload_parameters": True}])
def test_offloading_is_for_what_is_shared(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="is for"):
        DeepSpeedBackend(**options).check()


def test_parameters_that_it_cannot_carry_are_refused() -> None:
    model = nn.ParameterDict({"scale": nn.Parameter(torch.ones(())), "table": nn.Parameter(torch.ones(2))})
    with pytest.raises(A2AError, match=r"without dimensions: scale"):
        DeepSpeedBackend().refuse(NONE, model)
    half = nn.Linear(2, 2).bfloat16()
    with pytest.raises(A2AError, match=r"float32 alone, and not weight, bias"):
        DeepSpeedBackend().refuse(NONE, half)
    DeepSpeedBackend().refuse(NONE, half.requires_grad_(False))


def test_another_stage_or_fewer_ranks_than_asked_for_are_errors() -> None:
    engine = SimpleNamespace(zero_optimization_stage=lambda: 2, dp_world_size=4)
    verify(engine, 2, 4)
    for stage, ranks in ((3, 4), (2, 8)):
        with pytest.raises(RunFailed, match=rf"stage 2 on 4 rank\(s\), asked for was {stage} on {ranks}"):
            verify(engine, stage, ranks)


def test_the_recipe_decides_and_not_who_launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", "0")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    backend = DeepSpeedBackend(device="cpu")
    backend.setup()
    try:
        assert "ACCELERATE_USE_DEEPSPEED" not in os.environ
        assert os.environ["DS_ACCELERATOR"] == "cpu"
    finally:
        backend.teardown()
