"""Runs that go on: from which checkpoint, with what recipe, and after whom."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from a2a_core.runs import Run

RANKS = ("backend.use=ddp", "backend.processes=2", "backend.device=cpu")
STEPS = ("--set", 'trainer.save="steps"', "--set", "trainer.save_every=2", "--set", "trainer.keep_last=0")


@pytest.fixture(scope="module")
def whole(files: Path, workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run of 6 steps, `runs/mine`, with checkpoints 2, 4 and 6; tests take copies."""
    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(files, folder, dirs_exist_ok=True)
    place = workplace(folder)
    place.run("train", "recipe.toml", "--out", "runs/mine", *STEPS)
    return place


@pytest.fixture
def broken_off(whole: Any, tmp_path: Path) -> Any:
    """That run as a killed one: it had not come to its export."""
    return copied(whole, tmp_path / "place", status="running")


def copied(whole: Any, folder: Path, **state: Any) -> Any:
    shutil.copytree(whole.folder, folder)
    place = type(whole)(folder)
    run = Run(folder / "runs" / "mine")
    run.recipe.write_text(run.recipe.read_text().replace(str(whole.folder), str(folder)))
    run.update(recipe=str(place.recipe.resolve()), **state)
    if state.get("status") != "done":
        shutil.rmtree(run.model)
    return place


def weights(run: Run) -> bytes:
    return (run.model / "model.safetensors").read_bytes()


def largest(checkpoint: Path) -> Path:
    return max((path for path in checkpoint.rglob("*.safetensors")), key=lambda path: path.stat().st_size)


def cut(path: Path) -> str:
    os.truncate(path, path.stat().st_size // 2)
    return f"has {path.stat().st_size} bytes"


def flip(path: Path) -> str:
    held = bytearray(path.read_bytes())
    held[-5] ^= 1
    path.write_bytes(held)
    return "is damaged: its checksum"


def lose(path: Path) -> str:
    path.unlink()
    return f"{path.name}` is missing"


@pytest.mark.parametrize("damage", [cut, flip, lose])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(broken_off: Any, whole: Any, damage: Any) -> None:
    run = Run(broken_off.folder / "runs" / "mine")
    reason = damage(largest(run.checkpoints / "checkpoint-6"))
    said = broken_off.run("train", "--resume").output
    assert "checkpoint-6 is passed over" in said
    assert reason in said
    assert "the one before it is taken" in said
    assert run.status == "done"
    assert weights(run) == weights(Run(whole.folder / "runs" / "mine"))
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [
        "checkpoint-2",
        "checkpoint-4",
        "checkpoint-6",
        "damaged-6",
    ]


def test_without_any_whole_checkpoint_nothing_is_begun_anew(broken_off: Any) -> None:
    run = Run(broken_off.folder / "runs" / "mine")
    for step in (2, 4, 6):
        (run.checkpoints / f"checkpoint-{step}" / "manifest.json").unlink()
    (run.checkpoints / ".checkpoint-7.partial").mkdir()
    said = broken_off.run("train", "--resume", "mine", code=1).output
    assert "no checkpoint of" in said
    assert said.count("it has no manifest.json") == 3
    assert f"move {run.checkpoints} away" in said
    assert "exists already" in broken_off.run("train", "recipe.toml", "--out", "runs/mine", code=2).output
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


@pytest.mark.parametrize("lost", ["gone", "half"])
def test_a_run_whose_state_is_lost_goes_on(broken_off: Any, whole: Any, lost: str) -> None:
    run = Run(broken_off.folder / "runs" / "mine")
    state = run.folder / "run.json"
    text = state.read_text()
    state.unlink()
    if lost == "half":
        state.write_text(text[: len(text) // 2])
    assert "killed" in broken_off.run("runs", "list").output
    shutil.rmtree(run.checkpoints / "checkpoint-6")
    broken_off.run("train", "--resume")
    assert run.status == "done"
    assert weights(run) == weights(Run(whole.folder / "runs" / "mine"))


def test_changes_are_shown_before_anything_is_done(broken_off: Any) -> None:
    run = Run(broken_off.folder / "runs" / "mine")
    before = run.recipe.read_text()
    broken_off.replace("width = 8", "width = 16")
    words = (
        "--set",
        "trainer.epochs=4",
        "--set",
        "trainer.batch_size=4",
        "--set",
        "backend.threads=1",
        "--without",
        "encoders.sound",
    )
    said = broken_off.run("train", "recipe.toml", "--resume", *words, code=2).output
    table = [line.split(maxsplit=4) for line in said.splitlines() if "->" in line]
    assert [(row[0], row[1], row[3]) for row in table] == [
        ("encoders.image.width", "8", "16"),
        ("encoders.sound", '"a2a-audio:log-mel"', "nothing"),
        ("trainer.epochs", "2.0", "4.0"),
        ("trainer.batch_size", "8", "4"),
        ("backend.threads", "0", "1"),
    ]
    assert table[0][4] == "no: the checkpoint holds the model as it was built"
    assert table[3][4] == "no: where a run stands in its rows is counted in steps of so many"
    assert table[2][4] == "with --force"
    assert len(table[4]) == 4
    assert "init_from" in said
    assert broken_off.run("train", "recipe.toml", "--resume", "--force", *words, code=2).output.count("no: ") == 3
    said = broken_off.run("train", "--resume", "mine", "--set", "trainer.epochs=4", code=2).output
    assert "`--force` goes on with that" in said
    assert run.recipe.read_text() == before
    assert run.status == "killed"


def test_what_can_change_changes(broken_off: Any) -> None:
    run = Run(broken_off.folder / "runs" / "mine")
    words = ("--set", "trainer.epochs=3", "--set", "backend.threads=1", "--without", "metrics.accuracy", "--force")
    said = broken_off.run("train", "--resume", "mine", *words).output
    assert "changed: trainer.epochs = 2.0 -> 3.0" in said
    assert "changed: backend.threads = 0 -> 1" in said
    assert run.state["steps"] == 9
    assert "accuracy" not in run.state["results"]["validation"]
    assert "epochs = 3.0" in run.recipe.read_text()
    assert "epochs = 2.0" in (run.folder / "recipe-1.toml").read_text()
    (change,) = run.state["changes"]
    assert (change["step"], change["former"]) == (6, "recipe-1.toml")
    assert change["settings"]["trainer.epochs"] == [2.0, 3.0]
    shown = broken_off.run("runs", "show", "mine").output
    assert "changed after step 6" in shown
    assert "2 -> 3" in shown


def test_another_backend_needs_no_force_and_a_refused_one_leaves_all_as_it_was(broken_off: Any, whole: Any) -> None:
    run = Run(broken_off.folder / "runs" / "mine")
    before = run.recipe.read_text()
    shutil.rmtree(run.checkpoints / "checkpoint-6")
    words = ("--set", "backend.use=ddp", "--set", "backend.device=cpu")
    said = broken_off.run("train", "--resume", "mine", *words, "--set", "backend.processes=3", code=2).output
    assert "does not divide" in said
    assert run.recipe.read_text() == before
    assert "changes" not in run.state or run.state["changes"] == []
    said = broken_off.run("train", "--resume", "mine", *words, "--set", "backend.processes=2").output
    assert 'changed: backend = "a2a-accelerate:single" -> "a2a-accelerate:ddp"' in said
    assert run.status == "done"
    assert run.state["steps"] == 6


def test_a_recipe_means_what_the_run_was_begun_with(place: Any) -> None:
    """What the command line said then need not be said again; what it says now is a change."""
    place.run("train", "recipe.toml", "--out", "runs/mine", *STEPS, "--set", "trainer.epochs=1", "--without", "encoders.sound")
    run = Run(place.folder / "runs" / "mine")
    run.update(status="running")
    shutil.rmtree(run.model)
    place.run("train", "recipe.toml", "--resume")
    assert run.status == "done"
    assert (
        "trainer.epochs  1.0 -> 2.0  with --force"
        in place.run("train", "recipe.toml", "--resume", "mine", "--set", "trainer.epochs=2", code=2).output
    )


def test_a_finished_run_is_trained_for_longer(whole: Any, tmp_path: Path) -> None:
    place = copied(whole, tmp_path / "place", status="done")
    said = place.run("train", "--resume", "mine", code=2).output
    assert "is finished" in said
    assert "--set trainer.epochs=" in said
    place.run("train", "--resume", "mine", "--set", "trainer.epochs=3", "--force")
    assert Run(place.folder / "runs" / "mine").state["steps"] == 9


def test_fewer_steps_than_are_done_take_none_back(whole: Any, tmp_path: Path) -> None:
    place = copied(whole, tmp_path / "place", status="done")
    before = weights(Run(place.folder / "runs" / "mine"))
    said = place.run("train", "--resume", "mine", "--set", "trainer.max_steps=4", "--force").output
    assert "asks for 4 steps, and 6 are done" in said
    assert weights(Run(place.folder / "runs" / "mine")) == before


def test_other_rows_are_found(broken_off: Any) -> None:
    broken_off.write([*broken_off.rows(), broken_off.rows()[0] | {"id": "one-more"}])
    said = broken_off.run("train", "--resume", code=2).output
    assert "`train` has 25 rows now, and had 24 when the run began" in said


def test_data_that_moved_are_the_same_rows(broken_off: Any) -> None:
    run = Run(broken_off.folder / "runs" / "mine")
    shutil.rmtree(run.checkpoints / "checkpoint-6")
    (broken_off.folder / "train.jsonl").rename(broken_off.folder / "moved.jsonl")
    broken_off.run("train", "--resume", "mine", "--set", "data.train.path=moved.jsonl", "--force")
    assert run.status == "done"


def test_force_is_for_resuming(place: Any) -> None:
    assert "--force is for --resume" in place.run("train", "recipe.toml", "--force", code=2).output
    assert "leave --out and --dry-run away" in place.run("train", "--resume", "--dry-run", code=2).output


def wait_for(run: Run, step: int, process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        if run.metrics.is_file() and f'"step": {step},' in run.metrics.read_text():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it never came so far")


@pytest.fixture
def endless(place: Any) -> Iterator[Any]:
    """Starts runs of many epochs in processes of their own, and ends those that are left."""
    started: list[subprocess.Popen[str]] = []
    sets = ("trainer.epochs=500", 'trainer.evaluate="no"', 'trainer.save="no"', "trainer.workers=1")

    def start(*words: str) -> subprocess.Popen[str]:
        process = place.shell("train", "recipe.toml", *(word for each in sets for word in ("--set", each)), *words)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_whoever_is_preempted_saves_and_says_how_to_go_on(place: Any, endless: Any) -> None:
    """Both signals, to every process there is, as SLURM sends them; a run that is worked on is no other's."""
    process = endless("--out", "run")
    run = Run(place.folder / "run")
    wait_for(run, 2, process)
    for words in (("recipe.toml", "--out", "run"), ("--resume", "run")):
        said = place.run("train", *words, code=2).output
        assert "exists already" in said or "is still running" in said
    workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    for pid in (*workers, process.pid):
        os.kill(pid, signal.SIGUSR1)
    for pid in (*workers, process.pid):
        os.kill(pid, signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("asked to leave: stopping after this step, with a checkpoint") == 1
    assert said.splitlines()[-1] == f"resume me: a2a train --resume {run.folder}"
    assert "Traceback" not in said
    assert run.status == "preempted"
    checkpoint = run.newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.name == f"checkpoint-{run.state['steps']}"
    shown = place.run("runs", "show", "run").output
    assert "preempted" in shown
    assert "a2a train --resume run" in shown
    ended = place.run("train", "--resume", "run", "--set", "trainer.epochs=1", "--force", "--json").stdout.splitlines()
    assert json.loads(ended[-1])["status"] == "done"


def test_ranks_that_are_preempted_save_together(place: Any, endless: Any) -> None:
    """SLURM's two signals reach the launcher and the ranks; the launcher hands them on, too."""
    process = endless("--out", "run", *(word for each in RANKS for word in ("--set", each)))
    run = Run(place.folder / "run")
    wait_for(run, 2, process)
    ranks = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    for number in (signal.SIGUSR1, signal.SIGTERM):
        for pid in (process.pid, *ranks):
            os.kill(pid, number)
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert said.splitlines()[-1] == f"resume me: a2a train --resume {run.folder}"
    assert run.status == "preempted"
    checkpoint = run.newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.name == f"checkpoint-{run.state['steps']}"


def test_before_the_first_step_there_is_nothing_to_save(place: Any) -> None:
    process = place.shell("train", "recipe.toml", "--out", "run", "--json")
    run = Run(place.folder / "run")
    for _ in range(2400):
        if run.state.get("status") == "running":
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert run.status == "preempted"
    end = json.loads(out.splitlines()[-1])
    assert (end["status"], end["resume"]) == ("preempted", f"a2a train --resume {run.folder}")
    assert "Traceback" not in said
    said = place.run("train", "--resume", "run").output
    assert "there is no checkpoint yet" in said
    assert run.status == "done"
