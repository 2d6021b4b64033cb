"""What `a2a train --resume` refuses before anything heavy is imported."""

import json
from pathlib import Path

import pytest

from a2a_core.recipe import fill, load_recipe
from a2a_core.runs import Run, create, hold, release


@pytest.fixture
def stopped(recipe: Path) -> Run:
    """A run of the recipe that was interrupted."""
    run = create(Path("runs") / "digits")
    run.recipe.write_text(fill(load_recipe(recipe, None, ["trainer.epochs=3"], environ={})))
    run.begin()
    run.update(status="interrupted", recipe=str(recipe.resolve()), overridden=["trainer.epochs"], without=[])
    release(run.folder)
    return run


@pytest.mark.parametrize(
    "words", [("--resume", "recipe.toml"), ("recipe.toml", "--resume"), ("recipe.toml", "--resume", "dig")]
)
def test_a_changed_recipe_is_shown_and_refused(stopped: Run, recipe: Path, run, words: tuple[str, ...]) -> None:
    recipe.write_text(recipe.read_text().replace("width = 32", "width = 16"))
    before = stopped.recipe.read_text()
    result = run("train", *words)
    assert result.exit_code == 2
    lines = [line.split() for line in result.stderr.splitlines()]
    assert [
        "encoders.picture.width",
        "32",
        "->",
        "16",
        "no:",
        "the",
        "checkpoint",
        "holds",
        "the",
        "model",
        "as",
        "it",
        "was",
        "built",
    ] in lines
    assert "trainer.epochs" not in result.stderr, "it was said when the run was begun"
    assert 'init_from = "runs/digits"' in result.stderr
    assert stopped.recipe.read_text() == before
    assert run("train", *words, "--force").exit_code == 2


def test_what_a_trainer_does_not_declare_is_refused(stopped: Run, run) -> None:
    result = run("train", "--resume", "digits", "--set", "trainer.learning_rate=1", "--force")
    assert result.exit_code == 2
    assert "no: the checkpoint was written with the old one" in result.stderr


def test_what_may_change_wants_force(stopped: Run, run) -> None:
    result = run("train", "--resume", "--without", "metrics.hits")
    assert result.exit_code == 2
    assert ["metrics.hits", '"acme-parts:hits"', "->", "nothing", "with", "--force"] in [
        line.split() for line in result.stderr.splitlines()
    ]
    assert "`--force` goes on with that; as it was:  a2a train --resume runs/digits" in result.stderr


def test_the_environment_counts_with_a_recipe_alone(stopped: Run, run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A__TRAINER__EPOCHS", "7")
    assert "trainer.epochs  3 -> 7" in run("train", "recipe.toml", "--resume").stderr
    assert "trainer.epochs" not in run("train", "--resume", "--without", "metrics.hits").stderr


def test_mistakes_in_settings_are_told_as_ever(stopped: Run, run) -> None:
    result = run("train", "--resume", "digits", "--set", "trainer.epoch=4", "--force")
    assert result.exit_code == 2
    assert "did you mean `epochs`?" in result.stderr


def test_a_run_that_is_worked_on(stopped: Run, run) -> None:
    hold(stopped.folder)
    stopped.update(status="running", pid=7)
    result = run("train", "--resume", "digits")
    release(stopped.folder)
    assert result.exit_code == 2
    assert "run digits is still running (process 7)" in result.stderr


def test_a_finished_run(stopped: Run, run) -> None:
    stopped.update(status="done")
    result = run("train", "--resume", "digits", "--set", "backend.use=single")
    assert result.exit_code == 2
    assert "run digits is finished" in result.stderr
    assert "to train it for longer:" in result.stderr
    assert "no run in runs is unfinished" in run("train", "--resume").stderr
    assert json.loads((stopped.folder / "run.json").read_text())["status"] == "done"
