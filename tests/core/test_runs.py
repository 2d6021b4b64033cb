import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from a2a_core import A2AError, RunFailed, manifest, runs
from a2a_core.runs import HELD, Run, create, every, explained, find, fresh, hold, new, newest_unfinished, release, write


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
    release(run.folder)
    assert run.status == "killed"
    run.begin()
    assert run.status == "running"
    release(run.folder)


@contextmanager
def elsewhere(folder: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """Another process, which has run a script with `folder` and waits."""
    script = f"import sys, pathlib; from a2a_core.runs import *; folder = pathlib.Path(sys.argv[1]); {script}; print(1, flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_two_processes_never_work_on_one_run(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with elsewhere(run.folder, "create(folder).begin()") as process:
        assert run.status == "running"
        for action in (run.begin, lambda: hold(run.folder)):
            with pytest.raises(A2AError, match=rf"another process works on .*run \(process {process.pid} on "):
                action()
        with pytest.raises(A2AError, match="exists already"):
            create(run.folder)
        assert run.state["pid"] == process.pid
    assert run.status == "killed"
    create(run.folder).begin()
    assert run.state["pid"] == os.getpid()


def test_a_killed_process_holds_no_run_by_the_workers_that_outlive_it(tmp_path: Path) -> None:
    with elsewhere(tmp_path / "run", "create(folder).begin(); os.fork()") as process:  # both wait for a line
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait()
        assert Run(tmp_path / "run").status == "killed"


def test_a_folder_that_another_process_has_just_taken_is_left_alone(tmp_path: Path) -> None:
    with elsewhere(tmp_path / "run", "create(folder)"), pytest.raises(A2AError, match="another process works on"):
        create(tmp_path / "run")
    create(tmp_path / "run")


def test_runs_that_begin_at_the_same_moment_get_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter([tmp_path / "a", tmp_path / "a", tmp_path / "b"])
    monkeypatch.setattr(runs, "fresh", lambda *_: next(names))
    assert [new(tmp_path, Path("recipe.toml")).name for _ in range(2)] == ["a", "b"]


def test_a_clock_that_goes_back_changes_no_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, time in (("first", 4_000_000_000), ("second", 1_000_000_000), ("third", 1_000_000_001)):
        monkeypatch.setattr("time.time_ns", lambda time=time: time * 10**9)
        create(tmp_path / name).begin()
        Run(tmp_path / name).update(status="failed", started=f"{time}")
    assert [run.name for run in every(tmp_path)] == ["third", "second", "first"]
    assert newest_unfinished(tmp_path).name == "third"


@pytest.mark.parametrize("text", [None, "", '{"status": "runn', "[]"])
def test_a_run_whose_state_is_lost_can_go_on(tmp_path: Path, text: str | None) -> None:
    run = create(tmp_path / "run")
    write(run.recipe, "")
    run.begin()
    state = run.folder / "run.json"
    state.unlink()
    if text is not None:
        state.write_text(text)
    assert run.status == "running"
    release(run.folder)
    assert run.status == "killed"
    assert find("run", tmp_path).folder == run.folder
    assert newest_unfinished(tmp_path).folder == run.folder
    run.begin()
    assert run.state["status"] == "running"


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
        folder = run.checkpoints / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        if step < 100:
            manifest.write(folder, {})
    (run.checkpoints / "checkpoint-200-copy").mkdir()
    assert [path.name for path in run.every_checkpoint()] == ["checkpoint-100", "checkpoint-16", "checkpoint-8"]
    newest = run.newest_checkpoint()
    assert newest is not None
    assert newest.name == "checkpoint-16"
    (newest / "model.safetensors").write_bytes(b"")
    newest = run.newest_checkpoint()
    assert newest is not None
    assert newest.name == "checkpoint-8"


def test_a_run_that_never_came_to_a_checkpoint_is_not_in_the_way(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "1", status="preempted")
    release(run.folder)
    (run.folder / "logs").mkdir()
    for name in ("recipe.toml", "recipe-1.toml", "lengths-train.safetensors", ".run.json.7.partial", "metrics.jsonl"):
        (run.folder / name).write_text("old")
    create(run.folder)
    assert [path.name for path in run.folder.iterdir()] == [".lock"]
    release(run.folder)
    run.update(status="killed")
    (run.folder / "mine.txt").write_text("kept")
    with pytest.raises(A2AError, match="exists already"):
        create(run.folder)


def test_damaged_checkpoints_are_not_thrown_away_for_a_new_run(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", "1", status="failed")
    release(run.folder)
    (run.checkpoints / "checkpoint-8").mkdir(parents=True)
    with pytest.raises(A2AError, match="exists already"):
        create(run.folder)


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
