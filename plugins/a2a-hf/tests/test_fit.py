import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_runs import Recipe, Stopper, fit, history, weights

from a2a_core import A2AError, RunFailed
from a2a_core.model import A2AModel
from a2a_core.runs import Run


def test_a_run_leaves_a_model_a_history_and_checkpoints(recipe: Recipe, tmp_path: Path) -> None:
    result, run = fit(recipe(), tmp_path / "run")
    assert (result.status, result.steps, run.status) == ("done", 6, "done")
    assert [record["step"] for record in history(run)] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "loss/fit/squared", "learning_rate", "grad_norm", "samples_per_second"} <= history(run)[0].keys()
    assert history(run)[0]["loss"] == pytest.approx(history(run)[0]["loss/fit/squared"])
    assert result.results["validation"]["error"] == pytest.approx(run.state["results"]["validation"]["error"])
    assert result.results["validation"]["loss"] < history(run, "validation")[0]["loss"]
    assert not list(run.folder.rglob("*.bin")), "no pickle but the optimizer's and the generators' states"
    assert {path.suffix for path in run.model.iterdir()} == {".json", ".safetensors"}
    model = A2AModel.from_pretrained(run.model)
    assert torch.equal(torch.cat([model.state_dict()[name].flatten() for name in sorted(model.state_dict())]), weights(run))


@pytest.mark.parametrize(
    "sets", [("trainer.micro_batch=2",), ("trainer.micro_batch=1",), ("trainer.micro_batch=4", "trainer.workers=1")]
)
def test_accumulation_is_a_bigger_batch(recipe: Recipe, tmp_path: Path, sets: tuple[str, ...]) -> None:
    """With unlabelled rows and missing modalities, micro-batches count different numbers of targets: SGD shows each gradient."""
    path = recipe(
        ('use = "toy"', 'use = "toy"\nunlabelled = 3\nabsent = 4'),
        ('use = "hf"', 'use = "hf"\noptimizer = "sgd"\nmax_grad_norm = 0.0'),
    )
    _, whole = fit(path, tmp_path / "whole")
    _, parts = fit(path, tmp_path / "parts", *sets)
    assert torch.allclose(weights(whole), weights(parts), atol=1e-6)
    for one, other in zip(history(whole), history(parts), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-4)


@pytest.fixture
def quiet_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


CHOOSY = ("trainer.epochs=12", "trainer.patience=2", "trainer.load_best=true", "trainer.learning_rate=0.3")


@pytest.mark.usefixtures("quiet_signals")
@pytest.mark.parametrize("after", [1, 2, 3, 4])
@pytest.mark.parametrize("sets", [("trainer.epochs=2",), CHOOSY], ids=["plain", "early stopping, best weights"])
def test_an_interrupted_run_goes_on_to_the_same_weights(
    recipe: Recipe, tmp_path: Path, after: int, sets: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """Steps 3 and 6 are an epoch's last: its evaluation belongs to the checkpoint."""
    path = recipe(('use = "hf"', 'use = "hf"\nwarmup_steps = 2\nmicro_batch = 4'))
    _, never = fit(path, tmp_path / "never", *sets)
    stopper = Stopper(after)
    result, run = fit(path, tmp_path / "stopped", *sets, reporter=stopper)
    assert result.status == "interrupted"
    assert run.status == "interrupted"
    assert capfd.readouterr().err.count("stopping after this step") == 1
    assert not run.model.exists()
    assert run.newest_checkpoint() is not None
    result, run = fit(path, run.folder, *sets, resume=True)
    assert result.status == "done"
    assert torch.equal(weights(never), weights(run))
    for split in ("train", "validation"):
        wanted, found = history(never, split), history(run, split)
        assert [record["step"] for record in found] == [record["step"] for record in wanted]
        assert [record["loss"] for record in found] == pytest.approx([record["loss"] for record in wanted], rel=1e-6)


@pytest.mark.parametrize("sets", [("trainer.max_steps=4",), CHOOSY], ids=["max_steps", "early stopping"])
def test_a_run_killed_after_its_last_step_trains_no_further(recipe: Recipe, tmp_path: Path, sets: tuple[str, ...]) -> None:
    result, run = fit(recipe(), tmp_path / "run", *sets)
    before = weights(run)
    run.update(status="running")
    shutil.rmtree(run.model)
    again, run = fit(recipe(), run.folder, *sets, resume=True)
    assert again.steps == result.steps
    assert again.results["validation"] == pytest.approx(result.results["validation"])
    steps = [record["step"] for record in history(run, "validation")]
    assert len(steps) == len(set(steps)), "what is evaluated again is in the history already"
    assert torch.equal(before, weights(run))


def test_evaluating_first_is_for_the_first_start_only(recipe: Recipe, tmp_path: Path) -> None:
    sets = ("trainer.evaluate_first=true",)
    _, run = fit(recipe(), tmp_path / "run", *sets, reporter=Stopper(4))
    fit(recipe(), run.folder, *sets, resume=True)
    assert [record["step"] for record in history(run, "validation")] == [0, 3, 6]


def test_resuming_reads_no_row_that_it_skips(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe(('[data.validation]\nuse = "toy"\ncount = 7\n', ""), ('use = "toy"', 'use = "toy"\ncount = 64'))
    fit(path, tmp_path / "run", "trainer.epochs=1", 'trainer.save="steps"', "trainer.save_every=4", 'trainer.evaluate="no"')
    run = Run(tmp_path / "run")
    run.update(status="interrupted")
    shutil.rmtree(run.checkpoints / "checkpoint-8")
    read: list[int] = []
    import toy

    plain = toy.ToyRows.__getitem__
    monkeypatch.setattr(toy.ToyRows, "__getitem__", lambda self, index: read.append(index) or plain(self, index))
    fit(
        path,
        run.folder,
        "trainer.epochs=1",
        'trainer.save="steps"',
        "trainer.save_every=4",
        'trainer.evaluate="no"',
        resume=True,
    )
    assert len(read) == 32
    assert len(set(read)) == 32


def test_bad_rows_are_set_aside_and_counted(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(('use = "toy"', 'use = "toy"\nspoiled = [3, 5]'), ("seed = 3", "seed = 3\nbad_rows = 0.1"))
    result, run = fit(path, tmp_path / "run")
    assert result.status == "done"
    rows = [json.loads(line) for line in run.quarantine.read_text().splitlines()]
    assert sorted((row["split"], row["place"]) for row in rows) == [("train", "toy:3"), ("train", "toy:5")]
    assert "expected a list of numbers" in rows[0]["reason"]


def test_the_same_reason_is_shown_a_few_times_and_counted(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(('use = "toy"', f'use = "toy"\nspoiled = {list(range(0, 20, 2))}'), ("seed = 3", "seed = 3\nbad_rows = 0.5"))
    reporter = Stopper(0)
    _, run = fit(path, tmp_path / "run", reporter=reporter)
    aside = [note for note in reporter.notes if "is set aside: field `left`: expected a list of numbers" in note]
    assert len(aside) == 3
    assert reporter.notes[3:] == [
        f"and 7 more like this: field `left`: expected a list of numbers, got …; see {run.quarantine}"
    ]
    assert len(run.quarantine.read_text().splitlines()) == 10


def test_a_step_of_bad_rows_alone_moves_on(recipe: Recipe, tmp_path: Path) -> None:
    sets = (
        ('use = "toy"', 'use = "toy"\nspoiled = [3, 5]'),
        ("seed = 3", "seed = 3\nbad_rows = 0.1"),
        ("batch_size = 8", "batch_size = 1"),
    )
    result, run = fit(recipe(*sets), tmp_path / "run")
    assert result.status == "done"
    assert len(run.quarantine.read_text().splitlines()) == 2


def test_too_many_bad_rows_stop_the_run(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(('use = "toy"', 'use = "toy"\nspoiled = [3, 5]'))
    with pytest.raises(A2AError, match=r"of 20 rows of `train` are bad") as error:
        fit(path, tmp_path / "run")
    assert str(error.value).count("toy:") == len(error.value.problems) - 1 <= 2
    assert Run(tmp_path / "run").status == "failed"


def test_rows_without_any_label_are_an_error(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(A2AError, match="nothing is supervised in the rows of step 1"):
        fit(recipe(('use = "toy"', 'use = "toy"\nunlabelled = 1')), tmp_path / "run")


def test_a_modality_that_no_row_has_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(A2AError, match="encoder `right` reads field `right`, which is empty in every row"):
        fit(recipe(('use = "toy"', 'use = "toy"\nabsent = 1')), tmp_path / "run")


def test_nan_stops_the_run_and_dumps_its_rows(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="is not finite"):
        fit(recipe(('use = "squared"', 'use = "squared"\npoison = 2.0')), tmp_path / "run")
    (about,) = (tmp_path / "run" / "nan").glob("step-*.json")
    found = json.loads(about.read_text())
    assert found["parameters"]
    dumped = load_file(about.with_name(f"{about.stem}-0.safetensors"))
    assert bool((dumped["targets.number.value"] > 2).any())
    assert len(found["ids"][0]) == len(dumped["targets.number.value"])


def test_nan_can_be_backed_off_from(recipe: Recipe, tmp_path: Path) -> None:
    replaced = (('use = "squared"', 'use = "squared"\npoison = 4.0'), ('use = "hf"', 'use = "hf"\non_nan = "back-off"'))
    stopper = Stopper(-1)
    result, run = fit(recipe(*replaced), tmp_path / "run", 'trainer.schedule="constant"', reporter=stopper)
    assert result.status == "done"
    assert sum("is skipped" in note for note in stopper.notes) == 2, "once an epoch: one row is poisoned"
    assert {record["learning_rate"] for record in history(run)} == {0.01, 0.005}
    losses = [record["loss"] for record in history(run)]
    assert losses.count(None) == 2, "only the steps that were skipped have none"


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (('trainer.optimizer="grokadamw"',), "optimizer `grokadamw`"),
        (('trainer.precision="fp16"',), "fp16 needs a loss scaler"),
        (('trainer.schedule="reduce_lr_on_plateau"', 'trainer.evaluate="no"'), "follows an evaluation"),
    ],
)
def test_what_cannot_run_here_says_so(recipe: Recipe, tmp_path: Path, sets: tuple[str, ...], message: str) -> None:
    with pytest.raises(A2AError, match=message):
        fit(recipe(), tmp_path / "run", *sets)


def test_the_environment_does_not_decide_the_precision(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    _, run = fit(recipe(), tmp_path / "run")
    assert all(value.dtype == torch.float32 for value in load_file(run.model / "model.safetensors").values())
    result, _ = fit(recipe(), tmp_path / "half", 'trainer.precision="bf16"')
    assert result.status == "done"


def test_a_plateau_of_a_metric_that_should_rise(recipe: Recipe, tmp_path: Path) -> None:
    sets = ('trainer.schedule="reduce_lr_on_plateau"', "trainer.schedule_args={patience=0}", "trainer.epochs=4")
    _, run = fit(recipe(), tmp_path / "run", *sets, 'trainer.best="error"', "trainer.higher_is_better=true")
    assert history(run)[-1]["learning_rate"] < 0.01, "the error falls, which here is no progress"
    assert torch.isfinite(weights(run)).all()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (("trainer.micro_batch=3",), "does not divide by `trainer.micro_batch` = 3"),
        (('trainer.best="accurracy"',), "`trainer.best` = `accurracy` is no metric"),
        (("trainer.gradient_checkpointing=true",), "no part of this model"),
        (('trainer.report_to=["nowhere"]',), "nowhere"),
        (("encoders.left.freeze=true", "encoders.right.freeze=true", 'trainer.groups=[{match="encoders.*"}]'), "no group"),
        (('trainer.groups=[{match="*"},{match="heads.*"}]',), "`\\*` and `heads.\\*`"),
        (('trainer.groups=[{match="*"},{match="nothing.*"}]',), "matches nothing"),
    ],
)
def test_bad_settings_are_refused(recipe: Recipe, tmp_path: Path, sets: tuple[str, ...], message: str) -> None:
    with pytest.raises(A2AError, match=message):
        fit(recipe(), tmp_path / "run", *sets)


def test_groups_have_their_own_rates_norms_and_freezing(recipe: Recipe, tmp_path: Path) -> None:
    groups = (
        'trainer.groups=[{match="encoders.*", learning_rate=0.5, freeze_until=3},'
        ' {match="fusion.*|projectors.*"}, {match="heads.*", weight_decay=0.5}]'
    )
    _, run = fit(recipe(), tmp_path / "run", groups, "trainer.save_every=1", 'trainer.save="steps"', "trainer.keep_last=0")
    first, third, last = (load_file(run.checkpoints / f"checkpoint-{step}" / "model.safetensors") for step in (1, 3, 6))
    name = "encoders.left.linear.weight"
    assert torch.equal(first[name], third[name])
    assert not torch.equal(third[name], last[name])
    assert not torch.equal(first["heads.number.linear.weight"], third["heads.number.linear.weight"])
    records = history(run)
    assert "grad_norm/encoders.*" not in records[0]
    assert records[4]["grad_norm"] ** 2 == pytest.approx(
        sum(value**2 for key, value in records[4].items() if key.startswith("grad_norm/")), rel=1e-5
    )


def test_early_stopping_and_the_best_weights(recipe: Recipe, tmp_path: Path) -> None:
    sets = (
        "trainer.epochs=50",
        "trainer.patience=2",
        "trainer.load_best=true",
        "trainer.learning_rate=0.3",
        "trainer.keep_last=1",
    )
    result, run = fit(recipe(more='[data.test]\nuse = "toy"\ncount = 5\n'), tmp_path / "run", *sets)
    losses = {record["step"]: record["loss"] for record in history(run, "validation")}
    assert result.steps < 150
    assert result.results["validation"]["loss"] == pytest.approx(min(losses.values()), rel=1e-5)
    assert len(history(run, "validation")) == len(losses), "each step once"
    (test,) = history(run, "test")
    assert losses[int(test["step"])] == min(losses.values()), "recorded for the step of the weights that it judges"


def test_a_frozen_encoder_is_left_as_it_was(recipe: Recipe, tmp_path: Path) -> None:
    _, run = fit(
        recipe(),
        tmp_path / "run",
        "encoders.left.freeze=true",
        "trainer.save_every=1",
        'trainer.save="steps"',
        "trainer.keep_last=0",
    )
    first, last = (load_file(run.checkpoints / f"checkpoint-{step}" / "model.safetensors") for step in (1, 6))
    assert torch.equal(first["encoders.left.linear.weight"], last["encoders.left.linear.weight"])
    assert not torch.equal(first["encoders.right.linear.weight"], last["encoders.right.linear.weight"])


def test_everything_frozen_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(("[heads.number]", '[heads.idle]\nuse = "reference"\n[heads.number]'))
    with pytest.raises(A2AError, match=r"receive no gradient: heads.idle.linear"):
        fit(path, tmp_path / "run")


def test_each_heads_loss_is_recorded(recipe: Recipe, tmp_path: Path) -> None:
    more = '\n[heads.other]\nuse = "reference"\n[losses.more]\nuse = "squared"\nhead = "other"\nweight = 0.5\n'
    more += '[losses.again]\nuse = "squared"\nhead = "other"\n'
    _, run = fit(recipe(more=more), tmp_path / "run")
    for record in (history(run)[0], history(run, "validation")[0]):
        other = 0.5 * record["loss/more/squared"] + record["loss/again/squared"]
        assert record["head_loss/other"] == pytest.approx(other, rel=1e-5)
        assert record["head_loss/number"] == pytest.approx(record["loss/fit/squared"], rel=1e-5)
        assert record["loss"] == pytest.approx(record["head_loss/number"] + record["head_loss/other"], rel=1e-5)
