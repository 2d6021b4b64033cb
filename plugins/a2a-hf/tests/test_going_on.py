"""What a run that goes on takes from its recipe, where that is another now."""

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import torch
from toy_runs import Recipe, Stopper, fit, history, weights

from a2a_core import RunFailed
from a2a_core.reporter import Silent
from a2a_core.runs import Run
from a2a_hf.trainer import MAY_CHANGE, MUST_STAY, HfTrainer


class Sender(Silent):
    """Gets a signal after so many steps."""

    def __init__(self, number: signal.Signals, after: int, times: int = 1) -> None:
        self.number, self.after, self.times = number, after, times

    def step(self, step: int) -> None:
        for _ in range(self.times if step == self.after else 0):
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    every = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(each) for each in every]
    yield
    assert [signal.getsignal(each) for each in every] == before


@pytest.fixture
def stopped(recipe: Recipe, tmp_path: Path) -> Callable[..., tuple[Path, Run]]:
    """A recipe, and a run of it (6 steps) that was stopped after step 2."""

    def stop(*sets: str) -> tuple[Path, Run]:
        path = recipe()
        result, run = fit(path, tmp_path / "run", *sets, reporter=Sender(signal.SIGTERM, 2))
        assert (result.status, result.steps, run.status) == ("preempted", 3, "preempted")
        return path, run

    return stop


def test_every_option_may_change_or_says_why_not() -> None:
    names = {field.name for field in attrs.fields(HfTrainer)}
    assert MAY_CHANGE | MUST_STAY.keys() == names
    assert not MAY_CHANGE & MUST_STAY.keys()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_whoever_wants_the_machine_back_may_say_so_again(recipe: Recipe, tmp_path: Path, number: signal.Signals) -> None:
    path = recipe()
    _, never = fit(path, tmp_path / "never")
    result, run = fit(path, tmp_path / "run", reporter=Sender(number, 2, times=3))
    assert (result.status, run.status) == ("preempted", "preempted")
    result, run = fit(path, run.folder, resume=True)
    assert result.status == "done"
    assert torch.equal(weights(never), weights(run))


def test_a_file_system_without_locks_is_told_of(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    notes = Stopper()
    result, run = fit(recipe(), tmp_path / "run", reporter=notes)
    assert result.status == run.status == "done"
    assert f"the file system of {run.folder} has no locks: nobody else is kept from working on this run" in notes.notes


def test_the_user_has_the_last_word(recipe: Recipe, tmp_path: Path) -> None:
    class Both(Sender):
        def step(self, step: int) -> None:
            super().step(step)
            if step == self.after:
                os.kill(os.getpid(), signal.SIGTERM)

    result, _ = fit(recipe(), tmp_path / "run", reporter=Both(signal.SIGINT, 2))
    assert result.status == "interrupted"


def test_a_finished_run_is_trained_for_longer(recipe: Recipe, tmp_path: Path) -> None:
    path, constant = recipe(), "trainer.schedule=constant"
    _, whole = fit(path, tmp_path / "whole", constant, "trainer.epochs=3")
    result, run = fit(path, tmp_path / "run", constant, "trainer.epochs=1")
    assert (result.status, result.steps) == ("done", 3)
    result, run = fit(path, run.folder, constant, "trainer.epochs=3", resume=True)
    assert (result.status, result.steps) == ("done", 9)
    assert torch.equal(weights(whole), weights(run))
    assert [record["step"] for record in history(run)] == list(range(1, 10))


def test_a_run_that_stopped_early_goes_on_with_more_patience(recipe: Recipe, tmp_path: Path) -> None:
    sets = ("trainer.epochs=12", "trainer.load_best=true", "trainer.learning_rate=0.3")
    path = recipe()
    early, run = fit(path, tmp_path / "run", *sets, "trainer.patience=1")
    assert early.steps < 36
    later, run = fit(path, run.folder, *sets, "trainer.patience=12", resume=True)
    assert later.steps == 36


def test_a_best_checkpoint_that_is_damaged_is_not_exported(recipe: Recipe, tmp_path: Path) -> None:
    path, sets = recipe(), ("trainer.epochs=12", "trainer.patience=1", "trainer.learning_rate=0.3")
    result, run = fit(path, tmp_path / "run", *sets, "trainer.load_best=true")
    newest, *_, best = run.every_checkpoint()
    assert newest != best
    (best / "model.safetensors").write_bytes(b"")
    with pytest.raises(RunFailed, match=f"{best.name}, the best one, cannot be exported: `model.safetensors` has 0 bytes"):
        fit(path, run.folder, *sets, "trainer.load_best=true", resume=True)
    again, _ = fit(path, run.folder, *sets, resume=True)
    assert (again.status, again.steps) == ("done", result.steps)


def test_a_shorter_run_ends_where_it_stands(stopped: Callable[..., tuple[Path, Run]]) -> None:
    path, run = stopped()
    result, run = fit(path, run.folder, "trainer.epochs=1", resume=True)
    assert (result.status, result.steps) == ("done", 3)
    assert run.model.is_dir()


def test_how_often_is_what_the_recipe_says_now(stopped: Callable[..., tuple[Path, Run]]) -> None:
    path, run = stopped('trainer.save="steps"', "trainer.save_every=100", "trainer.log_every=1")
    sets = ('trainer.save="steps"', "trainer.save_every=2", "trainer.log_every=2", "trainer.keep_last=0")
    fit(path, run.folder, *sets, 'trainer.evaluate="steps"', "trainer.evaluate_every=2", resume=True)
    assert [record["step"] for record in history(run)] == [1, 2, 3, 4, 6]
    assert [record["step"] for record in history(run, "validation")] == [3, 4, 6]
    assert [path.name for path in run.every_checkpoint()] == ["checkpoint-6", "checkpoint-4", "checkpoint-3"]


@pytest.mark.parametrize(
    "sets",
    [
        ("trainer.learning_rate=0.001",),
        ("trainer.weight_decay=0.5",),
        ("trainer.adam_beta1=0.5",),
        ("trainer.warmup_steps=5",),
        ("trainer.max_grad_norm=0.01",),
        ("trainer.max_steps=20",),
    ],
    ids=lambda sets: sets[0],
)
def test_what_may_change_is_followed(stopped: Callable[..., tuple[Path, Run]], tmp_path: Path, sets: tuple[str, ...]) -> None:
    """The steps done stay as they were, those to come are others."""
    path, run = stopped()
    _, never = fit(path, tmp_path / "never")
    _, run = fit(path, run.folder, *sets, resume=True)
    assert [each["loss"] for each in history(run)[:3]] == [each["loss"] for each in history(never)[:3]]
    assert not torch.equal(weights(run), weights(never))
    if sets[0].startswith("trainer.learning_rate"):
        rates = [each["learning_rate"] for each in history(run)]
        wanted = [each["learning_rate"] for each in history(never)]
        assert rates[:3] == wanted[:3]
        assert rates[3:] == pytest.approx([rate / 10 for rate in wanted[3:]])


@pytest.mark.parametrize(
    "sets", [("trainer.micro_batch=2",), ("trainer.workers=1", "trainer.eval_batch_size=3"), ("trainer.save_async=false",)]
)
def test_what_changes_nothing_about_the_weights(
    stopped: Callable[..., tuple[Path, Run]], tmp_path: Path, sets: tuple[str, ...]
) -> None:
    path, run = stopped()
    _, never = fit(path, tmp_path / "never")
    _, run = fit(path, run.folder, *sets, resume=True)
    assert torch.allclose(weights(run), weights(never), atol=1e-5)
