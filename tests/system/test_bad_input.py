"""Every mistake that a user can make: what is said, the exit code, and that nothing is lost."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from a2a_core.runs import Run


def options(*sets: str) -> list[str]:
    return [word for each in sets for word in ("--set", each)]


def refused(place: Any, *message: str, sets: tuple[str, ...] = (), code: int = 2) -> str:
    result = place.run("train", "recipe.toml", "--out", "run", *options(*sets), code=code)
    for each in message:
        assert each in result.output
    assert "Traceback" not in result.output
    return str(result.output)


def test_a_typo_in_a_key(place: Any) -> None:
    place.replace("patch_size = 4", "patch_sise = 4")
    place.replace("epochs = 2", "epoch = 2")
    output = refused(
        place,
        "unknown key `patch_sise` for encoder `patch`",
        "did you mean `patch_size`?",
        "unknown key `epoch`",
        "did you mean `epochs`?",
    )
    assert "recipe.toml:" in output
    assert not (place.folder / "run").exists()


def test_a_wrong_type(place: Any) -> None:
    place.replace("batch_size = 8", 'batch_size = "8"')
    refused(place, "`trainer.batch_size` must be an integer, got a string", "without the quotes?")


def test_an_unknown_component(place: Any) -> None:
    place.replace('use = "bottleneck"', 'use = "botleneck"')
    refused(place, "unknown fusion `botleneck`", "did you mean `bottleneck`?")


def test_a_data_file_that_is_not_there(place: Any) -> None:
    place.replace('path = "train.jsonl"', 'path = "trian.jsonl"')
    refused(place, "`data.train.path` names a file that is not there", "trian.jsonl")
    assert not (place.folder / "run").exists()
    assert "names a file that is not there" in place.run("check", "recipe.toml", code=2).output


def test_a_run_that_never_got_anywhere_is_not_in_the_way(place: Any) -> None:
    whole = place.rows()
    place.write([{**row, "label": None} for row in whole])
    refused(place, "label")
    assert not (place.folder / "run").exists()
    place.write(whole)
    place.run("train", "recipe.toml", "--out", "run")
    refused(place, "run exists already")


def test_a_media_file_that_is_not_there(place: Any) -> None:
    (place.folder / "train4.png").unlink()
    refused(place, "train.jsonl:5 (id train-4): field `image`", "train4.png", "exist", "1 of 24 rows of `train` are bad")


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_data_set(place: Any, text: str) -> None:
    (place.folder / "train.jsonl").write_text(text)
    refused(place, "train.jsonl", "no rows")


def test_a_line_that_is_no_json(place: Any) -> None:
    path = place.folder / "train.jsonl"
    path.write_text(path.read_text() + '{"id": "x", "label": \n')
    refused(place, "train.jsonl:25")


def test_a_corrupt_image(place: Any) -> None:
    whole = (place.folder / "train4.png").read_bytes()
    (place.folder / "train4.png").write_bytes(whole[: len(whole) // 2])
    refused(place, "train.jsonl:5 (id train-4): field `image`", "train4.png")
    assert Run(place.folder / "run").quarantine.read_text().count("\n") == 1


def test_a_sound_of_zero_length(place: Any) -> None:
    import numpy as np
    import soundfile

    soundfile.write(place.folder / "train4.wav", np.zeros(0), 8000)
    refused(place, "train.jsonl:5 (id train-4): field `sound`", "no samples")


def test_few_bad_rows_are_set_aside(place: Any) -> None:
    (place.folder / "train4.png").write_bytes(b"nothing")
    result = place.run("train", "recipe.toml", "--out", "run", "--set", "bad_rows=0.1")
    assert "train.jsonl:5 (id train-4) is set aside: field `image`" in result.output
    assert "quarantine" in result.output
    assert Run(place.folder / "run").status == "done"


@pytest.mark.parametrize(("classes", "label"), [("2", 2), ("2", -1), ('["dark", "light"]', "grey")])
def test_a_label_out_of_range(place: Any, classes: str, label: object) -> None:
    rows = place.rows()
    numbers = {"dark": 0, "light": 1} if classes == "2" else {"dark": "dark", "light": "light"}
    for name in ("train", "validation"):
        place.write([{**row, "label": numbers[row["label"]]} for row in place.rows(name)], name)
    rows = place.rows()
    rows[4]["label"] = label
    place.write(rows)
    place.replace('use = "classify"', f'use = "classify"\nclasses = {classes}')
    refused(place, f"`{label}`", "train-4" if isinstance(label, str) else "of 24 labels in field `label` 1 are others")


def test_a_number_of_classes_that_does_not_match(place: Any) -> None:
    numbers = {"dark": 0, "light": 1}
    place.write([{**row, "label": numbers[str(row["label"])] + 2 * (n // 12)} for n, row in enumerate(place.rows())])
    place.replace('use = "classify"', 'use = "classify"\nclasses = 2')
    refused(place, "[heads.shape] `classes = 2` takes 0 to 1", "12 are others: `2`, `3`")


def test_weights_for_classes_that_are_not_there(place: Any) -> None:
    place.replace('use = "cross-entropy"', 'use = "cross-entropy"\nweights = { dark = 1.0, grey = 2.0 }')
    refused(place, "grey")


def test_nan_in_a_target(place: Any) -> None:
    place.write([{**row, "label": float("nan") if n == 4 else float(n)} for n, row in enumerate(place.rows())])
    place.write([{**row, "label": 1.0} for row in place.rows("validation")], "validation")
    place.replace('use = "classify"', 'use = "regress"\nfield = "label"')
    place.replace('use = "cross-entropy"', 'use = "mse"')
    place.replace('use = "accuracy"', 'use = "mae"')
    output = refused(place, "`label`")
    assert "NaN" in output or "nan" in output


def test_a_plugin_that_raises_at_import_leaves_the_rest_alone(place: Any, make_plugin: Any) -> None:
    make_plugin("broken-one", plugin="raise SystemExit('no licence')")
    listed = place.run("plugins", "list")
    assert "no licence" in listed.output
    place.run("check", "recipe.toml")
    place.replace('use = "bottleneck"', 'use = "broken-one:bottleneck"')
    refused(place, "broken-one")


def test_a_run_folder_that_exists(place: Any) -> None:
    (place.folder / "run").mkdir()
    (place.folder / "run" / "notes.txt").write_text("mine")
    refused(place, "run exists already", "--out")
    assert [path.name for path in (place.folder / "run").iterdir()] == ["notes.txt"]


def small_disk(folder: Path, kib: int) -> bool:
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        return False
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)], capture_output=True, check=False)
    return done.returncode == 0


def test_a_disk_without_space(place: Any) -> None:
    disk = place.folder / "disk"
    if not small_disk(disk, 900):
        pytest.skip("mounting a small disk takes more rights")
    try:
        result = place.run(
            "train", "recipe.toml", "--out", "disk/run", "--set", "trainer.keep_last=0", "--set", "trainer.epochs=8", code=1
        )
        assert "no space left on the disk" in result.output
        assert "a2a train --resume" in result.output
        assert "Traceback" not in result.output
        run = Run(disk / "run")
        assert run.status == "failed"
        whole = run.newest_checkpoint()
        assert whole is not None, "what was written before is whole"
        assert not list(run.folder.rglob("*.partial"))
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True, capture_output=True)
        place.run("train", "--resume", "disk/run")
        assert run.status == "done"
    finally:
        subprocess.run(["umount", str(disk)], check=False, capture_output=True)


def wait_for(run: Run, step: int, process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if run.metrics.is_file() and f'"step": {step},' in run.metrics.read_text():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it never came so far")


def test_ctrl_c_saves_a_checkpoint(place: Any) -> None:
    sets = ("trainer.epochs=500", 'trainer.evaluate="no"', 'trainer.save="no"', "trainer.workers=1")
    process = place.shell("train", "recipe.toml", "--out", "run", *options(*sets))
    run = Run(place.folder / "run")
    wait_for(run, 2, process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the whole group, data workers among it
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said
    assert said.count("stopping after this step, with a checkpoint") == 1
    assert f"a2a train --resume {run.folder}" in said
    assert "Traceback" not in said
    assert run.status == "interrupted"
    checkpoint = run.newest_checkpoint()
    assert checkpoint is not None
    assert int(checkpoint.name.rpartition("-")[2]) == run.state["steps"] >= 2


def test_a_killed_run_is_known_and_goes_on(place: Any) -> None:
    sets = (
        "--set",
        "trainer.epochs=4",
        "--set",
        'trainer.save="steps"',
        "--set",
        "trainer.save_every=1",
        "--set",
        "trainer.keep_last=1",
    )
    place.run("train", "recipe.toml", "--out", "runs/never", *sets)
    process = place.shell("train", "recipe.toml", "--out", "runs/killed", *sets)
    run = Run(place.folder / "runs" / "killed")
    wait_for(run, 4, process)
    process.kill()
    process.communicate()
    assert run.status == "killed"
    assert "killed" in place.run("runs", "list").output
    place.run("train", "recipe.toml", "--resume")
    assert run.status == "done"
    never = Run(place.folder / "runs" / "never")
    weights = [(each.model / "model.safetensors").read_bytes() for each in (run, never)]
    assert weights[0] == weights[1]


def test_resuming_what_is_done_is_refused(trained: Any) -> None:
    assert "is finished" in trained.run("train", "--resume", "mine", code=2).output
    assert "is unfinished" in trained.run("train", "--resume", code=2).output
    assert "there is no run `yours`" in trained.run("train", "--resume", "yours", code=2).output


def test_a_gpu_that_is_not_there(place: Any) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    refused(place, "torch sees no GPU", sets=('backend.device="cuda"',))


def test_classes_that_only_another_split_has_are_found_before_training(place: Any) -> None:
    place.write([{**row, "label": "grey"} for row in place.rows("validation")], "validation")
    output = refused(place, "validation.jsonl:1 (id validation-0)", "`grey`", "those of the training rows")
    assert "training all" not in output
