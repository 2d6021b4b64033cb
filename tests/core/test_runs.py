import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from a2a_core import A2AError, RunFailed
from a2a_core.runs import HELD, Run, create, every, explained, find, fresh, newest_unfinished, release, write


def begun(folder: Path, started: str, **state: object) -> Run:
    run = create(folder)
    run.begin()
    run.update(started=started, **state)
    return run


@pytest.fixture(autouse=True)
def let_go() -> Iterator[None]:
    yield
    for folder in list(HELD):
        release(folder)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "new" / "deep")
    create(tmp_path / "new" / "deep")
    (tmp_path / "new" / "deep" / "file").write_text("mine")
    with pytest.raises(A2AError, match="exists already"):
        create(tmp_path / "new" / "deep")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(A2AError, match="exists already"):
        create(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_names_are_never_taken_twice(tmp_path: Path) -> None:
    recipe = tmp_path / "digits" / "recipe.toml"
    first = fresh(tmp_path, recipe)
    assert first.name.startswith("digits-")
    first.mkdir()
    assert not fresh(tmp_path, recipe).exists()
    assert fresh(tmp_path, tmp_path / "small.toml").name.startswith("small-")


def test_a_run_whose_process_is_gone_was_killed(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "1")
    assert run.status == "running"
    with pytest.raises(A2AError, match="another process works on"):
        run.begin()
    release(run.folder)
    assert run.status == "killed"
    run.begin()
    assert run.status == "running"
    release(run.folder)


def test_a_killed_process_lets_go_of_its_run(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys, pathlib, a2a_core.runs as r; r.create(pathlib.Path(sys.argv[1])).begin(); print(1, flush=True); input()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "run")], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Run(tmp_path / "run").status == "running"
        process.kill()
    assert Run(tmp_path / "run").status == "killed"


def test_the_newest_unfinished_run_is_found(tmp_path: Path) -> None:
    recipe = tmp_path / "a.toml"
    begun(tmp_path / "one", "1", status="interrupted", recipe=str(recipe))
    begun(tmp_path / "two", "2", status="failed", recipe="other.toml")
    begun(tmp_path / "three", "3", status="done", recipe=str(recipe))
    assert [run.name for run in every(tmp_path)] == ["three", "two", "one"]
    assert newest_unfinished(tmp_path).name == "two"
    assert newest_unfinished(tmp_path, recipe).name == "one"
    with pytest.raises(A2AError, match="is unfinished"):
        newest_unfinished(tmp_path, tmp_path / "b.toml")


def test_runs_are_found_by_path_name_and_beginning(tmp_path: Path) -> None:
    for name in ("digits-1", "digits-12", "faces-1"):
        begun(tmp_path / name, name)
    assert find(str(tmp_path / "faces-1"), Path("nowhere")).name == "faces-1"
    assert find("digits-1", tmp_path).name == "digits-1"
    assert find("fa", tmp_path).name == "faces-1"
    with pytest.raises(A2AError, match="2 runs begin with `dig`"):
        find("dig", tmp_path)
    with pytest.raises(A2AError, match="did you mean `faces-1`"):
        find("fces-1", tmp_path)


def test_a_half_written_last_line_is_forgotten_on_rewinding(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    for step in (1, 2, 3):
        run.append(run.metrics, {"step": step, "loss": 1 / step})
    with run.metrics.open("a") as file:
        file.write('{"step": 4, "lo')
    run.rewind(2)
    assert [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()] == [1, 2]


def test_only_whole_checkpoints_count(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    assert run.newest_checkpoint() is None
    for step in (8, 16, 100):
        (run.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
        if step < 100:
            (run.checkpoints / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    newest = run.newest_checkpoint()
    assert newest is not None
    assert newest.name == "checkpoint-16"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which is always full")
def test_a_full_disk_is_a_message(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunFailed, match="no space left on the disk"):
        run.append(run.metrics, {"step": 1})


def test_other_errors_are_left_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), explained(tmp_path):
        (tmp_path / "nothing").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_a_message(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(A2AError, match="cannot be written"):
        create(tmp_path / "run")


def test_writing_replaces_whole_files(tmp_path: Path) -> None:
    write(tmp_path / "file", "one")
    write(tmp_path / "file", "two")
    assert (tmp_path / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
