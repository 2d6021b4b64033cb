import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import A2AError
from a2a_core.features import lock, places


def shard(encoder: str, name: str, size: int, used: float) -> Path:
    path = places.encoders() / encoder / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (used, used))
    return path


def test_the_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A2A_CACHE", str(tmp_path / "mine"))
    assert places.folder() == tmp_path / "mine"
    monkeypatch.delenv("A2A_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert places.folder() == tmp_path / "a2a"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative, which the standard says to ignore")
    assert places.folder() == Path.home() / ".cache" / "a2a"


@pytest.mark.parametrize(
    ("text", "count"), [("50GiB", 50 * 2**30), ("1.5 MB", 1_500_000), ("100", 100), ("2k", 2048), ("7B", 7), ("", 50 * 2**30)]
)
def test_a_limit_is_a_size(text: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_CACHE_LIMIT", text)
    assert places.limit() == count


@pytest.mark.parametrize("text", ["lots", "-1GB", "5 PiB", "1e9"])
def test_what_is_no_size_is_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_CACHE_LIMIT", text)
    with pytest.raises(A2AError, match="A2A_CACHE_LIMIT = .* is no size"):
        places.limit()


@given(st.binary(max_size=200))
def test_whatever_is_no_shard_is_damaged(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    with pytest.raises(places.Damaged):
        places.header(path)


def test_the_least_recently_used_goes_first(cache_folder: Path) -> None:
    new, old, needed = shard("b", "1", 10, 300), shard("a", "1", 10, 200), shard("a", "0", 10, 100)
    assert places.evict(5, {needed}, "") == 10
    assert [path.exists() for path in (new, old, needed)] == [True, False, True]
    assert places.evict(50, {needed}, "") == 10
    assert [path.exists() for path in (new, needed)] == [False, True]
    assert not new.parent.exists()


def test_what_another_run_writes_is_left_alone(cache_folder: Path) -> None:
    path = shard("a", "1", 10, 100)
    held = places.lock_of("a")
    assert held.take()
    assert places.evict(5, set(), "other") == 0
    assert places.evict(5, set(), "a") == 10, "this run holds the lock itself"
    held.release()
    assert not path.exists()


def test_what_writers_left_that_died_is_swept(cache_folder: Path) -> None:
    whole, held = shard("a", "1", 10, 100), shard("c", "1", 10, 100)
    partials = [whole.with_name(".2.1.partial"), held.with_name(".2.1.partial"), places.encoders() / "b" / ".1.1.partial"]
    for path in partials:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    taken = places.lock_of("c")
    assert taken.take()
    places.sweep()
    assert [path.exists() for path in partials] == [False, True, False]
    assert whole.exists()
    assert not (places.encoders() / "b").exists()
    taken.release()


def test_a_folder_that_is_not_there_is_empty(cache_folder: Path) -> None:
    assert list(places.every()) == []
    assert places.shards(cache_folder / "none") == []
    cache_folder.write_text("a file")
    assert list(places.every()) == []


def test_sizes_read_well() -> None:
    assert [places.size(count) for count in (0, 1023, 1024, 5.25 * 2**30)] == ["0 B", "1023 B", "1 KiB", "5.25 GiB"]


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)


def test_without_locks_nothing_of_others_is_deleted(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shard("a", "1", 10, 100)
    partial = path.with_name(".2.1.partial")
    partial.write_bytes(b"half")
    without_locks(monkeypatch)
    places.sweep()
    assert places.evict(5, set(), "other") == 0
    assert path.exists()
    assert partial.exists()


def test_a_folder_that_goes_while_it_is_swept(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard("a", "1", 10, 100)
    gone = places.encoders() / "gone"
    monkeypatch.setattr(places, "every", lambda: iter([gone]))
    places.sweep()


def test_a_folder_with_the_name_of_a_shard_is_none(cache_folder: Path) -> None:
    path = shard("a", "1", 10, 100)
    (path.parent / "0-a-0.safetensors").mkdir()
    assert [each.path for each in places.shards(path.parent)] == [path]


def test_a_folder_that_cannot_be_listed_stands_in_nobodys_way(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = shard("a", "1", 10, 100), shard("b", "1", 10, 50)
    real = os.scandir

    def refused(folder: Any) -> Any:
        if folder == other.parent:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(folder)

    monkeypatch.setattr(places.os, "scandir", refused)
    assert [each.path for each in places.every_shard()] == [path]
    assert places.evict(5, set(), "") == 10
