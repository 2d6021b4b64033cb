import json
from pathlib import Path

import pytest

from a2a_core import manifest
from a2a_core.runs import Run, hold, release

HISTORY = [
    {"step": 10, "split": "train", "loss": 1.5, "loss/digit/miss": 1.5},
    {"step": 20, "split": "train", "loss": 1.25},
    {"step": 20, "split": "validation", "hits": 0.5},
]


@pytest.fixture
def make_run(recipe: Path, run):
    """A run's folder, made as training makes it."""

    def make(name: str, *sets: str, history=HISTORY, folder: str = "runs", **state: object) -> Run:
        made = Run(Path(folder) / name)
        made.folder.mkdir(parents=True)
        arguments = [each for setting in sets for each in ("--set", setting)]
        assert run("recipe", "fill", recipe, "-o", made.recipe, *arguments).exit_code == 0
        made.update(
            **{
                "status": "done",
                "started": "2026-01-01T10:00:00+00:00",
                "finished": "2026-01-01T10:05:00+00:00",
                "recipe": str(recipe.resolve()),
                **state,
            }
        )
        made.metrics.write_text("".join(json.dumps(each) + "\n" for each in history))
        return made

    return make


def results(**values: float) -> dict[str, dict[str, object]]:
    return {"train": {"loss": 0.1}, "validation": {**values, "confusion": [[1, 2], [3, 4]]}}


def test_list_without_runs(recipe: Path, run) -> None:
    result = run("runs", "list")
    assert result.exit_code == 0
    assert "no runs in runs" in result.output
    assert json.loads(run("runs", "list", "--json").stdout) == []
    assert run("runs", "list", "--runs", "elsewhere").exit_code == 2


def test_list_shows_the_newest_first(make_run, run) -> None:
    make_run("old", started="2026-01-01T10:00:00+00:00", results=results(loss=0.2, hits=0.97128), steps=40)
    make_run("new", started="2026-01-02T10:00:00+00:00", status="failed", error="NaN", results=None)
    lines = [line.split() for line in run("runs", "list").output.splitlines()]
    assert lines[0] == ["run", "status", "started", "steps", "recipe", "result"]
    assert [line[0] for line in lines[1:]] == ["new", "old"]
    assert lines[1][1] == "failed"
    assert lines[1][-3:] == ["20", "recipe.toml", "-"]
    assert lines[2][-4:] == ["40", "recipe.toml", "validation/hits", "0.9713"]


@pytest.mark.parametrize(
    ("best", "shown"),
    [
        ("", "validation/hits"),
        ("strokes", "validation/strokes"),
        ("test/strokes", "test/strokes"),
        ("head_loss/digit", "validation/head_loss/digit"),
    ],
)
def test_list_shows_the_metric_that_counts(recipe: Path, make_run, run, best: str, shown: str) -> None:
    other = '[heads.pen]\nuse = "guess"\n[metrics.strokes]\nuse = "errors"\nhead = "pen"\n'
    recipe.write_text(recipe.read_text().replace("[metrics.hits]", f"{other}[metrics.hits]"))
    found = {"loss": 0.2, "loss/digit/miss": 0.1, "head_loss/digit": 0.3, "head_loss/pen": 0.4, "strokes": 0.5, "hits": 0.6}
    make_run("one", f'trainer.best="{best}"', results={"train": found, "validation": found, "test": found})
    name, value = run("runs", "list").output.splitlines()[1].split()[-2:]
    assert (name, float(value)) == (shown, found[shown.partition("/")[2]])


def test_list_shows_a_metric_of_a_run_without_a_recipe(make_run, run) -> None:
    found = {"loss": 0.2, "head_loss/digit": 0.3, "hits": 0.6}
    make_run("one", results={"validation": found}).recipe.unlink()
    assert run("runs", "list").output.splitlines()[1].split()[-2:] == ["validation/hits", "0.6"]


def test_a_run_that_nobody_holds_was_killed(make_run, run) -> None:
    make_run("gone", status="running")
    hold(make_run("alive", status="running").folder)
    found = {each["run"]: each["status"] for each in json.loads(run("runs", "list", "--json").stdout)}
    release(Path("runs") / "alive")
    assert found == {"gone": "killed", "alive": "running"}


@pytest.mark.parametrize("status", ["preempted", "interrupted", "failed", "killed"])
def test_show_says_how_to_go_on(make_run, run, status: str) -> None:
    made = make_run("digits", status=status)
    assert (
        f"go on from its first step, as it has no whole checkpoint:  a2a train --resume {made.folder}"
        in run("runs", "show", "digits").output
    )
    for step in (4, 8):
        (made.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
    manifest.write(made.checkpoints / "checkpoint-4", {})
    assert f"go on from step 4:  a2a train --resume {made.folder}" in run("runs", "show", "digits").output
    (listed,) = json.loads(run("runs", "list", "--json").stdout)
    assert (listed["status"], listed["checkpoint"]) == (status, 4)
    made.update(status="done")
    assert "go on from" not in run("runs", "show", "digits").output


def test_show_what_was_changed_on_the_way(make_run, run) -> None:
    changes = [
        {
            "time": "2026-01-01T10:05:00+00:00",
            "step": 20,
            "settings": {"trainer.epochs": [3, 6], "metrics.hits": ["a:hits", None]},
        }
    ]
    make_run("digits", changes=changes)
    lines = [line.split() for line in run("runs", "show", "digits").output.splitlines()]
    assert ["changed", "after", "step", "20,"] in [line[:4] for line in lines]
    assert ["trainer.epochs", "3", "->", "6"] in lines
    assert ["metrics.hits", "a:hits", "->", "-"] in lines
    assert json.loads(run("runs", "show", "digits", "--json").stdout)["changes"] == changes


def test_list_survives_damage(make_run, run) -> None:
    made = make_run("odd", started=None, results="?", recipe=None)
    made.metrics.write_text('{"step": 3, "loss": 1}\n{"step": 4, "lo')
    (Path("runs") / "odder").mkdir()
    (Path("runs") / "odder" / "run.json").write_text("not json")
    lines = {line.split()[0]: line.split()[1:] for line in run("runs", "list").output.splitlines()}
    assert lines["odd"] == ["done", "-", "3", "-", "-"]
    assert lines["odder"] == ["unknown", "-", "-", "-", "-"]


def test_show(make_run, run) -> None:
    made = make_run("digits-1", "trainer.epochs=3", results=results(hits=0.5, loss=0.25), steps=20)
    (made.folder / "model").mkdir()
    result = run("runs", "show", "digits-1")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert ["digits-1", "done"] in lines
    assert ["trainer.epochs", "3"] in lines
    assert ["encoders.picture.width", "32"] in lines
    assert ["encoders.picture.use", "acme-parts:eye"] in lines
    assert ["validation/hits", "0.5"] in lines
    assert ["runs/digits-1/model", "the", "trained", "model"] in lines
    assert ["last", "recorded,", "validation,", "step", "20"] in lines
    for unchanged in ("trainer.learning_rate", "encoders.picture.layers", "checkpoints"):
        assert unchanged not in result.output


def test_show_for_machines(make_run, run) -> None:
    make_run("digits-1", results=results(hits=float("nan")), error=None)
    found = json.loads(run("runs", "show", "digits-1", "--json").stdout)
    assert found["run"] == "digits-1"
    assert found["settings"]["encoders.picture.width"] == 32
    assert found["results"] == {"train/loss": 0.1, "validation/hits": None}
    assert found["last"]["train"]["loss"] == 1.25
    assert found["artifacts"]["recipe.toml"] == "runs/digits-1/recipe.toml"


def test_the_environment_changes_nothing_about_a_run(make_run, run, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run("digits-1")
    monkeypatch.setenv("A2A__TRAINER__EPOCHS", "7")
    assert "trainer.epochs" not in json.loads(run("runs", "show", "digits-1", "--json").stdout)["settings"]


def test_show_without_the_plugin_shows_all_settings(make_run, run) -> None:
    made = make_run("digits-1")
    made.recipe.write_text(made.recipe.read_text().replace("acme-parts:eye", "acme-lost:eye"))
    found = json.loads(run("runs", "show", "digits-1", "--json").stdout)["settings"]
    assert found["encoders.picture.use"] == "acme-lost:eye"
    assert found["trainer.learning_rate"] == 0.001


def test_a_run_may_be_a_path_a_name_or_its_beginning(make_run, run) -> None:
    make_run("digits-20260101")
    make_run("speech-20260101", folder="other")
    for name in ("digits-20260101", "dig", "runs/digits-20260101", "runs/digits-20260101/"):
        assert run("runs", "show", name).output.startswith("digits-20260101  done")
    assert run("runs", "show", "spee", "--runs", "other").output.startswith("speech-20260101")


def test_a_run_that_is_not_there(make_run, run) -> None:
    make_run("digits-1")
    make_run("digits-2")
    result = run("runs", "show", "digit-1")
    assert result.exit_code == 2
    assert "did you mean `digits-1`?" in result.stderr
    result = run("runs", "show", "digits")
    assert result.exit_code == 2
    assert "2 runs begin with `digits`" in result.stderr


def test_compare(make_run, run) -> None:
    make_run("a", "trainer.epochs=3", results=results(hits=0.5, loss=0.25))
    make_run("b", "encoders.picture.use=ear", results=results(hits=0.75, loss=0.5, errors=3))
    result = run("runs", "compare", "a", "b")
    assert result.exit_code == 0
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[0] == ["a", "b"]
    assert ["status", "done", "done"] in lines
    assert ["trainer.epochs", "3", "1"] in lines
    assert ["encoders.picture.use", "acme-parts:eye", "acme-parts:ear"] in lines
    assert ["validation/hits", "0.5", "0.75", "*"] in lines
    assert ["validation/loss", "0.25", "*", "0.5"] in lines
    assert ["validation/errors", "-", "3"] in lines
    assert ["train/loss", "0.1", "0.1"] in lines
    assert "learning_rate" not in result.output
    assert "confusion" not in result.output


def test_less_is_better_where_the_metric_says_so(make_run, run) -> None:
    metric = ("metrics.wrong.use=errors", "metrics.wrong.head=digit")
    for name, wrong in (("a", 2.0), ("b", 1.0), ("c", 1.0)):
        make_run(name, *metric, results={"validation": {"wrong": wrong, "wrong/worst": -wrong, "mystery": wrong}})
    found = json.loads(run("runs", "compare", "a", "b", "c", "--json").stdout)
    assert found["best"] == {"validation/wrong": [1, 2], "validation/wrong/worst": [0]}
    assert found["results"]["validation/mystery"] == [2.0, 1.0, 1.0]
    assert found["settings"] == {}
    assert [each["run"] for each in found["runs"]] == ["a", "b", "c"]


def test_compare_takes_two(make_run, run) -> None:
    made = make_run("a")
    for arguments in (["a"], ["a", "a"], ["a", made.folder]):
        result = run("runs", "compare", *arguments)
        assert result.exit_code == 2
        assert "two runs or more" in result.stderr
    assert run("runs", "compare").exit_code == 2


def test_compare_wants_recipes(make_run, run) -> None:
    make_run("a")
    make_run("b").recipe.unlink()
    result = run("runs", "compare", "a", "b")
    assert result.exit_code == 2
    assert "run `b` has no recipe.toml" in result.stderr
