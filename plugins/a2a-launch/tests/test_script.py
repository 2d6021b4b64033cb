import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from a2a_core import A2AError
from a2a_core.launchers import Launch
from a2a_core.testing import suite
from a2a_launch.script import ScriptLauncher

test_plugin = suite("a2a-launch")


def test_each_machine_trains_and_goes_on_until_the_run_is_done(
    launch: Callable[..., Launch], a2a: Any, put: Any, shell: Any
) -> None:
    task = launch()
    launcher = ScriptLauncher(rendezvous="first:29400", python=str(a2a.path), setup=("FROM_SETUP=yes", "export FROM_SETUP"))
    written = launcher.build(task)
    script = put(written, task.folder)
    assert (task.folder / "recipe.toml").read_text() == "seed = 1\n"
    assert shell("sh", "-n", script).returncode == 0
    meet = ["--set", "backend.nodes=2", "--set", "backend.rendezvous=first:29400"]
    a2a.ends(1)
    assert shell("sh", script).returncode == 1
    assert a2a.arguments[-1] == ["-m", "a2a_cli", "train", str(task.folder / "recipe.toml"), "--out", str(task.run), *meet]
    assert a2a.told[-1]["environment"]["FROM_SETUP"] == "yes"
    (task.run / "checkpoints" / ".checkpoint-1.partial").mkdir(parents=True)
    assert shell("sh", script).returncode == 1
    assert "--out" in a2a.arguments[-1]  # no checkpoint is whole yet
    (task.run / "checkpoints" / "checkpoint-2").mkdir()
    a2a.ends(0)
    assert shell("sh", script).returncode == 0
    assert a2a.arguments[-1] == ["-m", "a2a_cli", "train", str(task.folder / "recipe.toml"), "--resume", str(task.run), *meet]
    again = shell("sh", script)
    assert (again.returncode, again.stdout) == (0, f"{task.run} is finished\n")
    assert len(a2a.told) == 3


def test_one_machine_needs_no_place_to_meet(launch: Callable[..., Launch], a2a: Any, put: Any, shell: Any) -> None:
    task = launch(nodes=1)
    script = put(ScriptLauncher(python=str(a2a.path)).build(task), task.folder)
    assert shell("sh", script).returncode == 0
    alone = ["--set", "backend.nodes=1", "--set", "backend.rendezvous="]  # even if the run was begun on two
    assert a2a.arguments == [["-m", "a2a_cli", "train", str(task.folder / "recipe.toml"), "--out", str(task.run), *alone]]


@pytest.mark.parametrize(
    ("options", "nodes", "wrong"),
    [({}, 2, "no place to meet"), ({"rendezvous": "first:1"}, 1, "nobody to meet")],
)
def test_machines_that_cannot_meet_are_refused(options: Any, nodes: int, wrong: str, launch: Callable[..., Launch]) -> None:
    with pytest.raises(A2AError, match=wrong):
        ScriptLauncher(**options).build(launch(nodes=nodes))


@pytest.mark.parametrize(
    ("options", "wrong"),
    [({"rendezvous": "first"}, "host:port"), ({"environment": {"A B": "c"}}, "cannot be the name of an environment variable")],
)
def test_options_that_make_no_sense_are_refused(options: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        ScriptLauncher(**options)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0/\r", exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=TEXT.filter(lambda text: text not in (".", "..")), value=TEXT)
def test_names_and_values_reach_a2a_as_they_are(
    name: str, value: str, launch: Callable[..., Launch], a2a: Any, put: Any, shell: Any, tmp_path: Path
) -> None:
    """Spaces, quotes, `$`, line ends: no shell reads anything into them."""
    task = launch(name)
    launcher = ScriptLauncher(rendezvous=f"{value}:1", environment={"VALUE": value}, python=str(a2a.path))
    done = shell("sh", put(launcher.build(task), tmp_path / "written"))
    assert (done.returncode, done.stderr) == (0, ""), done
    assert a2a.arguments[-1][3:6] == [str(task.folder / "recipe.toml"), "--out", str(task.run)]
    assert a2a.arguments[-1][-1] == f"backend.rendezvous={value}:1"
    assert a2a.told[-1]["environment"]["VALUE"] == value
    (task.run / "run.json").write_text(json.dumps({"status": "killed"}))
    for path in (task.run / "checkpoints").iterdir():
        path.rmdir()
