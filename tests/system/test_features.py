"""Frozen encoders, computed once, in whole runs: the same training with the cache as without, whatever happens to it."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from a2a_core.features import places
from a2a_core.model import A2AModel
from a2a_core.runs import Run

DDP = ("--set", "backend.use=ddp", "--set", "backend.processes=2", "--set", "backend.device=cpu")
SLOW = '''
"""An encoder of pictures that takes its time."""
import time
from a2a_vision.patch import PatchEncoder


class SlowEncoder(PatchEncoder):
    """As `patch`; a batch takes half a second."""

    name = "slow"

    def build(self):
        module = super().build()
        forward = module.forward

        def slowly(**tensors):
            time.sleep(0.5)
            return forward(**tensors)

        module.forward = slowly
        return module
'''


@pytest.fixture
def frozen(place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both encoders frozen; dropout in the rest; several pictures in some rows; a cache of its own."""
    monkeypatch.setenv("A2A_CACHE", str(tmp_path / "features"))
    for table in ("image", "sound"):
        place.replace(f"[encoders.{table}]\n", f"[encoders.{table}]\nfreeze = true\n")
    place.replace("layers = 2\ndropout = 0.0", "layers = 2\ndropout = 0.2")
    rows = place.rows()
    for number in (0, 4, 12, 16, 20):
        rows[number]["image"] = [rows[number]["image"], "train1.png", "train2.png"]
    place.write(rows)
    return place


def options(*sets: str) -> list[str]:
    return [word for each in sets for word in ("--set", each)]


def train(place: Any, name: str, *sets: str, code: int = 0) -> str:
    return str(place.run("train", "recipe.toml", "--out", name, *options(*sets), code=code).output)


def history(place: Any, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (place.folder / name / "metrics.jsonl").read_text().splitlines()]


def weights(place: Any, name: str) -> dict[str, torch.Tensor]:
    return dict(A2AModel.from_pretrained(place.folder / name / "model").state_dict())


def same(place: Any, one: str, other: str, tolerance: float = 1e-6) -> None:
    for mine, its in zip(history(place, one), history(place, other), strict=True):
        assert mine["loss"] == pytest.approx(its["loss"], abs=tolerance)
        assert mine.get("accuracy") == its.get("accuracy")
    theirs = weights(place, other)
    for name, value in weights(place, one).items():
        torch.testing.assert_close(value, theirs[name], atol=10 * tolerance, rtol=0, msg=name)


def kept() -> dict[str, int]:
    """Media by encoder's folder."""
    return {
        folder.name: sum(places.header(shard.path).tensors["keys"]["shape"][0] for shard in places.shards(folder))
        for folder in places.every()
    }


def shards() -> list[Path]:
    return [shard.path for folder in places.every() for shard in places.shards(folder)]


@pytest.mark.parametrize("without", [("sound",), ("image",), ("image", "sound")])
def test_training_is_the_same_with_it(frozen: Any, without: tuple[str, ...]) -> None:
    """Each encoder cached beside one that is computed, and beside none."""
    train(frozen, "computed", "encoders.image.cache=false", "encoders.sound.cache=false")
    assert kept() == {}
    rest = [f"encoders.{name}.cache=false" for name in ("image", "sound") if name not in without]
    train(frozen, "cached", *(f"encoders.{name}.cache=true" for name in without), *rest)
    assert len(kept()) == len(without)
    listed = json.loads(frozen.run("cache", "list", "--json").stdout)["encoders"]
    assert {each["encoder"].partition(":")[0] for each in listed} <= {"a2a-vision", "a2a-audio"}
    assert [each["media"] for each in listed] == [27] * len(without)
    same(frozen, "cached", "computed")
    before = shards()
    train(frozen, "again", *rest, "trainer.workers=1")
    assert shards() == before
    same(frozen, "again", "cached", 1e-9)


def test_a_trained_encoder_beside_it(frozen: Any) -> None:
    frozen.replace("[encoders.sound]\nfreeze = true", "[encoders.sound]\nfreeze = false")
    frozen.replace("sample_rate = 8000\ndropout = 0.0", "sample_rate = 8000\ndropout = 0.2")
    train(frozen, "cached")
    train(frozen, "computed", "encoders.image.cache=false")
    assert len(kept()) == 1
    same(frozen, "cached", "computed")


def test_in_bfloat16(frozen: Any) -> None:
    bf16 = ('trainer.precision="bf16"', *(f'encoders.{name}.cache_dtype="bfloat16"' for name in ("image", "sound")))
    train(frozen, "cached", *bf16)
    train(frozen, "computed", *bf16, "encoders.image.cache=false", "encoders.sound.cache=false")
    assert len(kept()) == 2
    same(frozen, "cached", "computed", 5e-3)
    train(frozen, "float32")
    assert len(kept()) == 4, "other arithmetic, other features"


def test_two_ranks_share_the_work_and_the_result(frozen: Any) -> None:
    sgd = ('trainer.optimizer="sgd"', "trainer.max_grad_norm=0.0", "fusion.dropout=0.0")
    for name, more in (("computed", ("encoders.image.cache=false", "encoders.sound.cache=false")), ("cached", ())):
        process = frozen.shell("train", "recipe.toml", "--out", name, *options(*sgd, *more), *DDP)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    same(frozen, "cached", "computed")
    assert {path.stem.rpartition("-")[2] for path in shards()} == {"0", "1"}
    before = shards()
    train(frozen, "one", *sgd)
    assert shards() == before
    same(frozen, "one", "cached", 1e-5)


def test_the_export_is_whole_and_needs_no_cache(frozen: Any) -> None:
    train(frozen, "cached")
    shutil.rmtree(places.folder())
    found = json.loads(frozen.run("eval", "cached", "--json").stdout)["results"]["validation"]
    recorded = Run(frozen.folder / "cached").state["results"]["validation"]
    assert found["loss"] == pytest.approx(recorded["loss"], abs=1e-6)
    assert not places.folder().exists()
    rows = "".join(json.dumps(row) + "\n" for row in frozen.rows("validation"))
    answers = frozen.run("predict", "cached", stdin=rows).stdout.splitlines()
    assert len(answers) == 10


def test_bad_rows_are_set_aside_as_without_it(frozen: Any) -> None:
    (frozen.folder / "train4.png").write_bytes(b"nothing")
    (frozen.folder / "train6.wav").unlink()
    told = []
    for name, more in (("cached", ()), ("computed", ("encoders.image.cache=false", "encoders.sound.cache=false"))):
        train(frozen, name, "bad_rows=0.2", *more)
        lines = Run(frozen.folder / name).quarantine.read_text().splitlines()
        told.append(sorted((row["place"], row["reason"]) for row in map(json.loads, lines)))
    assert told[0] == told[1]
    assert len(told[0]) == 2
    same(frozen, "cached", "computed")


@pytest.mark.parametrize("cached", [True, False])
def test_a_killed_run_goes_on_to_the_same_bits(frozen: Any, cached: bool) -> None:
    sets = ("trainer.epochs=4", 'trainer.save="steps"', "trainer.save_every=1", "trainer.keep_last=1")
    train(frozen, "never", *sets)
    if not cached:  # and the cache has gone meanwhile
        shutil.rmtree(places.folder())
    process = frozen.shell("train", "recipe.toml", "--out", "killed", *options(*sets))
    run = Run(frozen.folder / "killed")
    wait(process, lambda: run.metrics.is_file() and '"step": 4,' in run.metrics.read_text())
    process.kill()
    process.communicate()
    frozen.run("train", "--resume", "killed")
    assert run.status == "done"
    never = Run(frozen.folder / "never")
    assert (run.model / "model.safetensors").read_bytes() == (never.model / "model.safetensors").read_bytes()


def test_resuming_computes_with_the_weights_of_the_checkpoint(frozen: Any, tmp_path: Path) -> None:
    """Pretrained ones, which the seed does not bring back."""
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(99)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ViTModel(ViTConfig(image_size=8, patch_size=4, **sizes)).save_pretrained(tmp_path / "vit")
    frozen.replace('use = "patch"\nimage_size = 8\npatch_size = 4\nwidth = 8\nnum_heads = 2\nlayers = 1\ndropout = 0.0\n',
                   f'use = "hf-vision"\npath = "{tmp_path / "vit"}"\n')  # fmt: skip
    sets = ("trainer.epochs=4", 'trainer.save="steps"', "trainer.save_every=1", "trainer.keep_last=1")
    train(frozen, "never", *sets)
    before = kept()
    process = frozen.shell("train", "recipe.toml", "--out", "killed", *options(*sets))
    run = Run(frozen.folder / "killed")
    wait(process, lambda: run.metrics.is_file() and '"step": 4,' in run.metrics.read_text())
    process.kill()
    process.communicate()
    frozen.run("train", "--resume", "killed")
    assert kept() == before
    assert (frozen.folder / "never/model/model.safetensors").read_bytes() == (run.model / "model.safetensors").read_bytes()


def wait(process: Any, come: Any) -> None:
    for _ in range(1200):
        if come():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("it never came so far")


@pytest.fixture
def slow(frozen: Any, make_plugin: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Computing takes seconds; shards are written after each batch."""
    home = make_plugin("slow-vision", {"a2a_encoders": {"slow": "slow_vision.slow:SlowEncoder"}}, slow=SLOW)
    (home.parent / "sitecustomize.py").write_text("import a2a_core.features.fill as fill\nfill.SHARD_BYTES = 1\n")
    monkeypatch.setenv("PYTHONPATH", str(home.parent))
    frozen.replace('use = "patch"', 'use = "slow"')
    return frozen


def test_a_writer_that_is_killed_leaves_what_is_whole(slow: Any) -> None:
    process = slow.shell("train", "recipe.toml", "--out", "killed")
    wait(process, lambda: len(shards()) >= 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    whole = shards()
    partial = whole[0].with_name(f".{whole[0].name}.1.partial")
    partial.write_bytes(whole[0].read_bytes()[:-7])
    train(slow, "after")
    assert set(whole) < set(shards())
    assert not partial.exists()
    train(slow, "computed", "encoders.image.cache=false", "encoders.sound.cache=false")
    same(slow, "after", "computed")


def test_ctrl_c_keeps_what_is_done(slow: Any) -> None:
    process = slow.shell("train", "recipe.toml", "--out", "stopped")
    wait(process, lambda: len(shards()) >= 2)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted" in said
    assert "Traceback" not in said
    assert len(shards()) >= 2
    assert Run(slow.folder / "stopped").status == "interrupted"


def test_two_runs_at_once_compute_it_once(slow: Any) -> None:
    processes = [slow.shell("train", "recipe.toml", "--out", name) for name in ("one", "two")]
    said = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert sum("another run computes the features of encoder" in each for each in said) >= 1
    assert sorted(kept().values()) == [27, 27], "each medium once"
    assert (slow.folder / "one/model/model.safetensors").read_bytes() == (
        slow.folder / "two/model/model.safetensors"
    ).read_bytes()


def test_altered_bytes_are_found_computed_again_and_reported(frozen: Any) -> None:
    train(frozen, "first")
    for path in shards():
        header = places.header(path)
        place = header.start + header.tensors["values"]["data_offsets"][0] + 1
        whole = bytearray(path.read_bytes())
        whole[place] ^= 0x55
        path.write_bytes(whole)
    said = train(frozen, "second")
    assert said.count("were altered since they were written: they are computed again") == 2
    same(frozen, "second", "first", 1e-9)
    assert "were altered" not in train(frozen, "third")


def test_a_shard_that_was_cut_off_is_computed_again(frozen: Any) -> None:
    train(frozen, "first")
    (path, *_) = shards()
    path.write_bytes(path.read_bytes()[:-9])
    said = train(frozen, "second").replace("\n", "")
    assert "are computed again: it has" in said
    same(frozen, "second", "first", 1e-9)


def test_a_cache_folder_that_is_a_file(frozen: Any) -> None:
    places.folder().write_text("")
    said = train(frozen, "auto")
    assert "encoder `image` is computed each time: the cache folder" in said
    assert "cannot be written: Not a directory" in said
    said = train(frozen, "insisted", "encoders.sound.cache=true", code=2)
    assert "`encoders.sound.cache = true`: the cache folder" in said
    assert "Traceback" not in said
    assert not (frozen.folder / "insisted").exists()


def test_a_limit_that_one_run_exceeds(frozen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_CACHE_LIMIT", "1kB")
    said = train(frozen, "auto")
    assert "encoder `image` is computed each time: its features" in said
    said = train(frozen, "insisted", "encoders.sound.cache=true", code=2)
    assert "A2A_CACHE_LIMIT" in said
    monkeypatch.setenv("A2A_CACHE_LIMIT", "plenty")
    assert "A2A_CACHE_LIMIT = 'plenty' is no size" in train(frozen, "wrong", code=2)


@pytest.mark.parametrize(
    ("size", "message", "code"),
    [("16k", "would take about", 2), ("28k", "no space left on the disk", 1)],
    ids=["early", "late"],
)
def test_a_full_disk(frozen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str, message: str, code: int) -> None:
    """29 KiB of features: far too many for the first disk, as the first batches tell; for the second, of 28, not quite."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes more rights")
    monkeypatch.setenv("A2A_CACHE", str(disk))
    places.contents().mkdir()  # no memory of files, which takes more or less space
    sets = ("encoders.image.width=64", "encoders.sound.cache=false")
    try:
        said = train(frozen, "auto", *sets)
        assert "encoder `image` is computed each time: " in said
        assert message in said
        assert shards() == []
        said = train(frozen, "insisted", *sets, "encoders.image.cache=true", code=code)
        assert message in said
        assert "Traceback" not in said
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


def test_a_read_only_folder(frozen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full cache serves; what is not there is computed each time. Root writes anywhere but on a read-only disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes more rights")
    monkeypatch.setenv("A2A_CACHE", str(disk))
    try:
        train(frozen, "first")
        subprocess.run([str(mount), "-o", "remount,ro", str(disk)], check=True, capture_output=True)
        assert "note" not in train(frozen, "second", "encoders.image.cache=true", "encoders.sound.cache=true")
        same(frozen, "second", "first", 1e-9)
        assert "cannot be written: Read-only file system" in train(frozen, "other", "seed=1")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


def test_keeping_what_is_trained_is_refused_by_check(frozen: Any) -> None:
    frozen.replace("freeze = true", "cache = true")
    said = frozen.run("check", "recipe.toml", code=2).output
    assert "`encoders.image.cache = true` needs `freeze = true`" in said
    assert "recipe.toml:" in said


def test_a_single_pass_computes_each_time(frozen: Any) -> None:
    train(frozen, "one", "trainer.epochs=1")
    train(frozen, "few", "trainer.max_steps=3")
    assert kept() == {}
    train(frozen, "more", "trainer.max_steps=4")
    assert len(kept()) == 2


def test_progress_is_told_to_machines(slow: Any) -> None:
    process = slow.shell("train", "recipe.toml", "--out", "run", "--json", *options("encoders.sound.cache=false"))
    out, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    told = [event for event in map(json.loads, out.splitlines()) if event["event"] == "prepare"]
    assert told[-1]["what"] == "features of `image`"
    assert told[-1]["done"] == told[-1]["total"] == 27
    assert [event["event"] for event in map(json.loads, out.splitlines())].index("start") >= len(told)
