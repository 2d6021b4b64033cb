"""`a2a launch`: what the command does for every launcher."""

import json
from pathlib import Path

import pytest

from a2a_core.plugins import Catalog
from a2a_core.recipe import schema

LAUNCHERS = '''
from a2a_core import A2AError, LauncherConfig, option
from a2a_core.launchers import Written

class Note(LauncherConfig):
    """Writes down what it is given."""
    name = "note"
    hours: float = option("time limit", default=1.0, gt=0)
    queue: str = option("the queue")
    labels: dict[str, str] = option("more", default={})
    def build(self, launch):
        if self.queue == "closed":
            raise A2AError("the queue is closed")
        text = f"{launch.name} {launch.run} {launch.nodes}x{launch.processes} {self.hours} {self.queue} {self.labels}"
        return Written({"recipe.toml": launch.recipe, "job": text}, f"start {launch.folder}", [str(launch.paths)])

class Far(Note):
    """The same, on another machine."""
    name = "far"
    elsewhere = True
'''
FILES = '''
from pathlib import Path
from a2a_core import SourceConfig, option

class Paths(SourceConfig):
    """Rows of a file that must be there."""
    name = "paths"
    path: Path = option("the file", exists=True)
    def build(self):
        raise NotImplementedError
'''
MISTAKES = ["--with", "hors=3", "--with", "hours=long"]


@pytest.fixture
def launchers(recipe: Path, make_plugin) -> Path:
    offers = {"a2a_launchers": {"note": "acme_launch.parts:Note", "far": "acme_launch.parts:Far"}}
    make_plugin("acme-launch", offers, parts=LAUNCHERS)
    make_plugin("acme-files", {"a2a_sources": {"paths": "acme_files.parts:Paths"}}, parts=FILES)
    return recipe


def test_files_are_written_and_the_command_that_starts_them_shown(
    launchers: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2A__TRAINER__EPOCHS", "3")
    given = ["--with", "queue=fast", "--with", "hours=36", "--with", "labels.team=x", "--set", "encoders.picture.width=8"]
    result = run("launch", launchers, "--to", "note", *given, "-o", "out/two words")
    assert result.exit_code == 0, result.output
    folder, there = Path("out/two words").absolute(), Path("runs/two words").absolute()
    assert (folder / "job").read_text() == f"two words {there} 1x1 36.0 fast {{'team': 'x'}}"
    recipe = (folder / "recipe.toml").read_text()
    assert "width = 8 " in recipe
    assert "epochs = 3 " in recipe
    assert f"start {folder}" in result.stdout
    assert "A2A__TRAINER__EPOCHS" in result.stderr


def test_nothing_is_written_over_unless_told(launchers: Path, run) -> None:
    command = ["launch", launchers, "--to", "note", "--with", "queue=slow"]
    first = json.loads(run(*command, "--json").stdout)
    folder = Path(first["folder"])
    assert folder == (Path("launch") / Path.cwd().name).absolute()  # `recipe.toml` is called as its folder
    assert first["files"] == ["recipe.toml", "job"]
    assert first["start"] == f"start {folder}"
    again = run(*command, "--with", "hours=9")
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert "--force" in again.stderr
    assert " 1.0 " in (folder / "job").read_text()
    assert run(*command, "--with", "hours=9", "--force").exit_code == 0
    assert " 9.0 " in (folder / "job").read_text()


def test_a_job_does_not_go_on_with_a_run_by_chance(launchers: Path, run) -> None:
    command = ["launch", launchers, "--with", "queue=slow", "-o", "launch/mine"]
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/run.json").write_text("{}")
    result = run(*command, "--to", "note")
    assert result.exit_code == 2
    assert "is there already" in result.stderr
    assert not Path("launch").exists()
    assert run(*command, "--to", "far").exit_code == 0  # its runs are not this machine's
    assert run(*command, "--to", "note", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "note", "--with", "queue=x", *MISTAKES], ["unknown key `hors`", "did you mean `hours`?", "must be a number"]),
        (["--to", "note"], ["needs `queue`", "the queue"]),
        (["--to", "note", "--with", "queue=x", "--with", "hours=0"], ["`hours` must be > 0"]),
        (["--to", "note", "--with", "queue"], ["expected `key.path=value`"]),
        (["--to", "note", "--with", "queue=closed"], ["the queue is closed"]),
        (["--to", "note", "--with", "queue=x", "--with", "use=far"], ["the engine is --to's"]),
        (["--to", "notes", "--with", "queue=x"], ["unknown launcher `notes`", "did you mean `note`?"]),
        (["--with", "queue=x"], ["--to which engine? (far, note)"]),
        (["--to", "note", "--with", "queue=x", "--set", "encoders.picture.widht=3"], ["did you mean `width`?"]),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(arguments: list[str], said: list[str], launchers: Path, run) -> None:
    result = run("launch", launchers, *arguments)
    assert result.exit_code == 2
    assert all(each in result.stderr for each in said), result.stderr
    assert not Path("launch").exists()


def test_files_are_looked_for_where_the_run_will_see_them(launchers: Path, run) -> None:
    command = ["launch", launchers, "--with", "queue=x", "--set", "data.train={use='paths', path='/data/x'}"]
    result = run(*command, "--to", "note")
    assert result.exit_code == 2
    assert "/data/x" in result.stderr
    result = run(*command, "--to", "far", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["notes"] == ["{'data.train.path': '/data/x'}"]


def test_no_recipe_names_a_launcher(launchers: Path) -> None:
    assert "launcher" not in schema(Catalog.installed())["$defs"]
