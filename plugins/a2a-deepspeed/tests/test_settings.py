import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from a2a_core.recipe import Recipe
from a2a_deepspeed.settings import PASSED, REFUSED, problems, settings
from a2a_deepspeed.zero import DeepSpeedBackend

RECIPE = cast("Recipe", SimpleNamespace(trainer=SimpleNamespace(batch_size=16, micro_batch=2, max_grad_norm=0.5)))


def backend(tmp_path: Path, given: Any, **options: Any) -> DeepSpeedBackend:
    path = tmp_path / "ds.json"
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    return DeepSpeedBackend(config=path, processes=2, **options)


def told(tmp_path: Path, given: Any, **options: Any) -> list[str]:
    return [f"{each.message} {each.hint}" for each in problems(backend(tmp_path, given, **options), RECIPE)]


def test_every_key_of_deepspeeds_tables_is_passed_on_or_refused_or_the_recipes() -> None:
    """A new release with other keys is to be looked at."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from deepspeed.runtime.zero.offload_config import DeepSpeedZeroOffloadOptimizerConfig, DeepSpeedZeroOffloadParamConfig

    tables: dict[str, Any] = {
        "zero_optimization.": DeepSpeedZeroConfig,
        "zero_optimization.offload_optimizer.": DeepSpeedZeroOffloadOptimizerConfig,
        "zero_optimization.offload_param.": DeepSpeedZeroOffloadParamConfig,
    }
    there = {f"{table}{field.alias or name}" for table, cls in tables.items() for name, field in cls.model_fields.items()}
    there -= {"zero_optimization.offload_optimizer", "zero_optimization.offload_param"}
    of_recipe = {"zero_optimization.stage", *(f"zero_optimization.offload_{each}.device" for each in ("optimizer", "param"))}
    known = {key for key in PASSED | REFUSED.keys() if key.startswith("zero_optimization.")}
    assert known | of_recipe == there
    assert not PASSED & REFUSED.keys()


def test_what_the_recipe_does_not_say_is_passed_on(tmp_path: Path) -> None:
    given = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 4,
        "gradient_clipping": 0.5,
        "fp16": {"enabled": "auto", "loss_scale": 0},
        "flops_profiler": {"enabled": True, "profile_step": 3},
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "reduce_bucket_size": "auto",
            "offload_param": {"device": "cpu", "pin_memory": False},
            "offload_optimizer": None,
        },
    }
    assert told(tmp_path, given, stage=3, offload_parameters=True) == []
    made = settings(backend(tmp_path, given, stage=3, offload_parameters=True), 1000)
    assert made["flops_profiler"] == given["flops_profiler"]
    assert made["gradient_clipping"] == 0.0, "gradients are clipped where they are measured"
    assert made["zero_optimization"] == {
        "stage": 3,
        "overlap_comm": True,
        "reduce_bucket_size": 1000,
        "offload_param": {"device": "cpu", "pin_memory": False},
    }
    assert settings(DeepSpeedBackend(stage=1, offload_optimizer=True), 7)["zero_optimization"] == {
        "stage": 1,
        "reduce_bucket_size": 7,
        "offload_optimizer": {"device": "cpu"},
    }


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ({"gradient_cliping": 1}, ["knows no key `gradient_cliping`", "did you mean `gradient_clipping`"]),
        ({"zero_optimization": {"overlap_com": True}}, ["`zero_optimization.overlap_com`", "`zero_optimization.overlap_comm`"]),
        ({"zero_optimization": {"stage": 3}}, ["`zero_optimization.stage` is 3", "`backend.stage` makes it 2"]),
        ({"zero_optimization": True}, ["`zero_optimization`", "is no table"]),
        (
            {"zero_optimization": {"offload_optimizer": {"device": "nvme"}}},
            ['is "nvme"', '`backend.offload_optimizer` makes it "none"'],
        ),
        ({"train_batch_size": 8}, ["`train_batch_size` is 8", "`trainer.batch_size` makes it 16"]),
        ({"train_micro_batch_size_per_gpu": 8}, ["is 8", "`trainer.micro_batch` = 2 on 2 rank(s) makes it 2"]),
        ({"gradient_accumulation_steps": 1}, ["makes it 4"]),
        ({"gradient_clipping": 1.0}, ["is 1.0", "`trainer.max_grad_norm` makes it 0.5"]),
        ({"bf16": {"enabled": True}}, ["`bf16.enabled` is true", "`trainer.precision`", "makes it false"]),
        ({"optimizer": {"type": "AdamW"}}, ["`optimizer`", "`trainer.optimizer` and its keys say so"]),
        ({"scheduler": {"type": "WarmupLR"}}, ["`scheduler`", "`trainer.schedule`"]),
        ('{"bf16": {}, "bf16": {}}', ["`bf16` stands there twice"]),
        ('{"bf16": }', ["ds.json: Expecting value: line 1"]),
        ("[]", ["is no table of settings"]),
    ],
)
def test_what_is_unknown_or_at_odds_with_the_recipe_is_told(tmp_path: Path, given: Any, messages: list[str]) -> None:
    (found,) = told(tmp_path, given)
    for message in [*messages, "ds.json"]:
        assert message in found


def test_all_of_it_is_told_at_once_and_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"optimizer": {}, "train_batch_size": 3, "wat": 1}))
    script = f"""
import pathlib, sys, types
from a2a_deepspeed.zero import DeepSpeedBackend
plan = types.SimpleNamespace(batch_size=8)
trainer = types.SimpleNamespace(batch_size=8, micro_batch=0, max_grad_norm=1.0, optimizer="lion_8bit", plan=lambda: plan)
backend = DeepSpeedBackend(config=pathlib.Path({str(path)!r}), processes=2)
print(len(list(backend.misfits(types.SimpleNamespace(trainer=trainer)))))
assert "torch" not in sys.modules and "deepspeed" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "4\n", done.stderr
