"""What is written, and what is said where Ray is missing or the recipe is none for it. Ray itself: tests/system."""

import ast
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import A2AError, BackendConfig, RunFailed, option
from a2a_core.heartbeat import RankLost, leave_word
from a2a_core.launchers import Launch
from a2a_core.testing import suite
from a2a_ray.driver import judge, main, shape
from a2a_ray.launcher import RayLauncher

test_plugin = suite("a2a-ray")


class Several(BackendConfig):
    """Several ranks."""

    name = "several"
    processes: int = option("ranks on each machine", default=0)
    nodes: int = option("machines", default=1)
    rendezvous: str = option("where they meet", default="")


def launch(name: str, backend: BackendConfig) -> Launch:
    return Launch(name=name, recipe="seed = 1\n", folder=Path("/launch") / name, run=Path("/runs") / name, backend=backend)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20))
def test_the_entry_says_what_it_was_given(name: str) -> None:
    task = launch(name, Several(processes=2))
    written = RayLauncher(cpus=4).build(task)
    assert written.files["recipe.toml"] == "seed = 1\n"
    [call] = [node for node in ast.walk(ast.parse(written.files["train.py"])) if isinstance(node, ast.Call) and node.keywords]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    assert ast.literal_eval(given["run"].args[0]) == str(task.run)  # type: ignore[attr-defined]
    assert ast.literal_eval(given["cpus"]) == 4
    assert ast.literal_eval(given["recipe"].args[0]) == "recipe.toml"  # type: ignore[attr-defined]


class One(BackendConfig):
    """One rank."""

    name = "one"


@pytest.mark.parametrize(("backend", "wrong"), [(One(), "has one rank"), (Several(), "how many ranks a machine has")])
def test_backends_that_ray_cannot_start_are_refused(backend: BackendConfig, wrong: str) -> None:
    with pytest.raises(A2AError, match=wrong):
        RayLauncher().build(launch("x", backend))


def test_ranks_are_counted_over_machines() -> None:
    assert shape(Several(processes=8, nodes=4)).workers == 32


def test_without_ray_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in [each for each in sys.modules if each == "ray" or each.startswith("ray.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as ended:
        main(recipe=tmp_path / "recipe.toml", run=tmp_path / "run")
    assert ended.value.code == 2
    assert 'pip install "a2a-ray[ray]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [A2AError, RunFailed])
def test_what_a_rank_said_of_its_end_is_raised(kind: type[A2AError], tmp_path: Path) -> None:
    (tmp_path / "ranks").mkdir()
    leave_word(tmp_path, 0)
    judge(tmp_path, 2)
    leave_word(tmp_path, 1, RankLost("rank 2 did not come"))
    leave_word(tmp_path, 2, kind("no such column", hint="look"))
    with pytest.raises(A2AError, match="no such column") as error:
        judge(tmp_path, 3)
    assert type(error.value) is kind
