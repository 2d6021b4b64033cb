import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from a2a_cli.main import a2a
from a2a_core.features import places
from a2a_core.features.shard import Entry
from a2a_core.features.store import Store

PATCH, MEL = "a" * 32, "b" * 32

Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    def call(*words: str, code: int = 0, stdin: str | None = None) -> str:
        result = CliRunner().invoke(a2a, ["cache", *words], input=stdin, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return call


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two media of one encoder, last used long ago, and one of another."""
    monkeypatch.setenv("A2A_CACHE", str(tmp_path / "cache"))
    for key, encoder, media in ((PATCH, "a2a-vision:patch", 2), (MEL, "a2a-audio:log-mel", 1)):
        plugin = encoder.partition(":")[0] + " 0.1.0"
        about = {"encoder": encoder, "plugin": plugin, "path": "models/x" * (media - 1), "dtype": "float32"}
        entries = [Entry(bytes([n]) * 16, torch.ones(3, 4), torch.ones(3, dtype=torch.bool), 3) for n in range(media)]
        Store(key, about, "run", 0, set()).write(entries)
    (shard,) = places.shards(places.encoders() / PATCH)
    os.utime(shard.path, (0, 0))
    places.contents().write_bytes(b"")
    return tmp_path / "cache"


def names() -> list[str]:
    return [folder.name for folder in places.every()]


def test_what_is_kept_is_listed(kept: Path, run: Run) -> None:
    lines = run("list").splitlines()
    assert lines[0].split() == ["key", "encoder", "plugin", "weights", "media", "size", "last", "used"]
    assert lines[1].split()[:6] == ["b" * 12, "log-mel", "a2a-audio", "0.1.0", "-", "1"]
    assert lines[2].split()[:6] == ["a" * 12, "patch", "a2a-vision", "0.1.0", "models/x", "2"]
    assert f"of at most 50 GiB in {kept}" in lines[-1]


@pytest.mark.parametrize("words", [("list",), ("list", "--json"), ("clear", "--yes")])
@pytest.mark.parametrize(("inside", "message"), [("", "is a file"), ("/inside", "would lie in")])
def test_a_file_is_no_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, words: tuple[str, ...], inside: str, message: str
) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    monkeypatch.setenv("A2A_CACHE", f"{file}{inside}")
    said = run(*words, code=2)
    assert f"error: the cache folder {file}{inside} {message}" in said
    assert "help: set A2A_CACHE to a folder" in said
    assert file.read_text() == "kept"


def test_machines_get_all_of_it(kept: Path, run: Run) -> None:
    found = json.loads(run("list", "--json"))
    assert found["limit"] == 50 * 2**30
    assert found["size"] == sum(each["size"] for each in found["encoders"]) > 0
    first = found["encoders"][1]
    assert first["key"] == PATCH
    assert (first["encoder"], first["plugin"], first["weights"]) == ("a2a-vision:patch", "a2a-vision 0.1.0", "models/x")
    assert (first["media"], first["stored_as"], first["last_used"]) == (2, "float32", "1970-01-01T00:00:00+00:00")


def test_an_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setenv("A2A_CACHE", str(tmp_path / "none"))
    assert "no features are kept" in run("list")
    assert json.loads(run("list", "--json"))["encoders"] == []
    assert "there is nothing to delete" in run("clear")


@pytest.mark.parametrize("name", ["patch", "a2a-vision:patch", "aaaa"])
def test_one_encoder_is_cleared(kept: Path, run: Run, name: str) -> None:
    assert "freed" in run("clear", name, "--yes")
    assert names() == [MEL]
    assert places.contents().exists()


def test_everything_is_cleared(kept: Path, run: Run) -> None:
    assert "freed" in run("clear", stdin="y\n")
    assert names() == []
    assert not places.contents().exists()


def test_only_what_is_old_is_cleared(kept: Path, run: Run) -> None:
    run("clear", "--older-than", "30d", "--yes")
    assert names() == [MEL]
    assert "is no age such as 30d" in run("clear", "--older-than", "soon", code=2)


def test_nothing_goes_without_a_yes(kept: Path, run: Run) -> None:
    run("clear", stdin="n\n", code=1)
    run("clear", code=1)
    assert names() == [PATCH, MEL]


def test_a_name_that_nothing_has(kept: Path, run: Run) -> None:
    assert "no features of `whisper` are kept" in run("clear", "patch", "whisper", "--yes", code=2)
    assert names() == [PATCH, MEL]


def test_what_a_run_is_writing_is_left(kept: Path, run: Run) -> None:
    lock = places.lock_of(PATCH)
    assert lock.take()
    assert "aaaaaaaaaaaa is left: a run is computing it" in run("clear", "--yes")
    lock.release()
    assert names() == [PATCH]


def test_a_damaged_shard_is_listed_and_cleared(kept: Path, run: Run) -> None:
    (shard,) = places.shards(places.encoders() / PATCH)
    shard.path.write_bytes(b"nothing")
    assert "7 B" in run("list")
    run("clear", PATCH[:4], "--yes")
    assert names() == [MEL]


def test_what_cannot_be_read_is_no_traceback(kept: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.encoders() / PATCH / "0-a-0.safetensors").mkdir()
    assert len(run("list").splitlines()) == 5

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(places, "header", refused)
    assert "?" in run("list")
    monkeypatch.setattr(places, "shards", refused)
    assert "no features are kept" in run("list")


def test_names_are_completed(kept: Path) -> None:
    from a2a_cli.cache import CacheName, clear

    completed = CacheName().shell_complete(clear.make_context("clear", []), clear.params[0], "")
    assert [item.value for item in completed] == ["a" * 12, "b" * 12, "log-mel", "patch"]


def test_listing_imports_no_torch(kept: Path) -> None:
    code = (
        "import sys; from a2a_cli.main import a2a; a2a(['cache', 'list'], standalone_mode=False); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
