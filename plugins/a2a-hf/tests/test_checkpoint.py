import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_runs import Recipe, Stopper, fit, history, weights

from a2a_core import manifest
from a2a_core.model import A2AModel
from a2a_core.runs import Run, step_of
from a2a_hf.checkpoint import read_weights
from a2a_hf.keeping import rotate
from a2a_hf.trainer import HfTrainer


def test_a_checkpoint_holds_what_is_trained_and_what_is_needed_and_says_so(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(('[encoders.left]\nuse = "reference"', '[encoders.left]\nuse = "reference"\nfreeze = true'))
    _, run = fit(path, tmp_path / "run")
    checkpoint = run.every_checkpoint()[0]
    assert manifest.verify(checkpoint) is None
    said = manifest.read(checkpoint)
    assert (said["step"], said["ranks"], said["backend"]) == (6, 1, "here")
    model = A2AModel.from_pretrained(run.model)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained < set(model.state_dict())
    optimizer = {f"optimizer.{name}.{key}" for name in trained for key in ("step", "exp_avg", "exp_avg_sq")}
    assert said["tensors"].keys() == set(model.state_dict()) | optimizer
    for name, tensor in model.state_dict().items():
        assert said["tensors"][name] == {"shape": list(tensor.shape), "dtype": "float32"}
        assert torch.equal(read_weights(checkpoint)[name], tensor)
    assert not [path.name for path in checkpoint.rglob("*") if path.suffix in (".bin", ".pt") and path.name != "scheduler.pt"]


@pytest.mark.parametrize(
    "optimizer", ["adamw_torch_fused", "adafactor", "ademamix", "rmsprop", "adagrad", "sgd", "stable_adamw"]
)
def test_any_optimizer_goes_on_as_if_never_stopped(recipe: Recipe, tmp_path: Path, optimizer: str) -> None:
    if optimizer == "ademamix":
        pytest.importorskip("bitsandbytes", reason="ademamix is bitsandbytes'")
    if optimizer == "stable_adamw":
        pytest.importorskip("torch_optimi", reason="stable_adamw is optimi's")
    more = '\noptimizer_args = "momentum=0.9"' if optimizer == "sgd" else ""
    path = recipe(('use = "hf"', f'use = "hf"\noptimizer = "{optimizer}"{more}'))
    _, never = fit(path, tmp_path / "never")
    _, run = fit(path, tmp_path / "stopped", reporter=Stopper(2))
    fit(path, run.folder, resume=True)
    assert torch.equal(weights(never), weights(run))


def test_waiting_for_files_changes_nothing_in_them(recipe: Recipe, tmp_path: Path) -> None:
    found = []
    for name, wait in (("behind", "true"), ("waiting", "false")):
        _, run = fit(recipe(), tmp_path / name, f"trainer.save_async={wait}")
        checkpoint = run.every_checkpoint()[0]
        found.append({each: manifest.read(checkpoint)["files"][each] for each in ("model.safetensors", "rng_state.pth")})
        found[-1] |= load_file(next((checkpoint / "state").iterdir()))
    assert found[0].keys() == found[1].keys()
    assert all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(*(f.values() for f in found), strict=True)
    )


def test_a_recipe_that_asks_for_another_rate_goes_on_in_proportion(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(('use = "hf"', 'use = "hf"\nschedule = "cosine"\nwarmup_steps = 1'))
    _, never = fit(path, tmp_path / "never")
    _, run = fit(path, tmp_path / "stopped", reporter=Stopper(2))
    fit(path, run.folder, "trainer.learning_rate=0.02", resume=True)
    was, now = ([record["learning_rate"] for record in history(each)] for each in (never, run))
    assert now[:3] == was[:3]
    assert now[3:] == pytest.approx([2 * rate for rate in was[3:]])


def kept(run: Run) -> list[int]:
    return sorted(map(step_of, run.every_checkpoint()))


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    more, less = Run(tmp_path / "more"), Run(tmp_path / "less")
    for step, judged in {1: 0.5, 2: 0.9, 3: None, 4: 0.8, 5: 0.1, 6: 0.2}.items():
        folder = more.checkpoints / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "a2a.json").write_text(json.dumps({"judged": judged}))
    users_own = more.checkpoints / "checkpoint-before-lunch"
    users_own.mkdir()
    shutil.copytree(more.folder, less.folder)
    rotate(more, HfTrainer(keep_last=0), True, None)
    assert kept(more) == [1, 2, 3, 4, 5, 6]
    rotate(less, HfTrainer(keep_last=1, keep_best=2), False, str(less.checkpoints / "checkpoint-4"))
    assert kept(less) == [4, 5, 6], "less is better: 5 and 6; 4 is what the trainer calls best"
    rotate(more, HfTrainer(keep_last=2, keep_best=2), True, None)
    assert kept(more) == [2, 4, 5, 6]
    assert users_own.is_dir()


def test_as_many_as_the_recipe_says(recipe: Recipe, tmp_path: Path) -> None:
    _, run = fit(recipe(), tmp_path / "run", "trainer.epochs=5", "trainer.keep_last=1", "trainer.keep_best=2")
    losses = {record["step"]: record["loss"] for record in history(run, "validation")}
    best = sorted(losses, key=lambda step: losses[step])[:2]
    assert kept(run) == sorted({*best, 15})


def test_the_best_checkpoint_is_the_runs_own_wherever_the_run_lies(recipe: Recipe, tmp_path: Path) -> None:
    often = [f'trainer.{key}="steps"' for key in ("save", "evaluate")] + [
        f"trainer.{key}_every=4" for key in ("save", "evaluate")
    ]
    path, sets = recipe(), ("trainer.load_best=true", "trainer.learning_rate=0.3", *often)
    _, never = fit(path, tmp_path / "never", *sets)
    _, run = fit(path, tmp_path / "stopped", *sets, reporter=Stopper(4))
    assert kept(run) == [4, 5]
    for name in ("moved", "moved again"):
        run.folder.rename(tmp_path / name)
        notes = Stopper()
        _, run = fit(path, tmp_path / name, *sets, resume=True, reporter=notes)
        assert torch.equal(weights(run), weights(never)), "after the last step, too"
        assert not [note for note in notes.notes if "best" in note]
    shutil.rmtree(run.checkpoints / "checkpoint-4")
    fit(path, run.folder, *sets, resume=True, reporter=notes)
    assert "checkpoint-4, the best one, is gone: the last weights are exported, not the best" in notes.notes
