import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from a2a_core.features import Unusable, lock, places, store
from a2a_core.features.shard import Entry
from a2a_core.features.store import Store

KEYS = [bytes([number]) * 16 for number in range(4)]


def entry(key: bytes, value: float, tokens: int = 1) -> Entry:
    return Entry(key, torch.full((tokens, 2), value), torch.ones(tokens, dtype=torch.bool), tokens)


def make(name: str = "encoder", run: str = "run", kept: set[Path] | None = None) -> Store:
    return Store(name, {"encoder": "x"}, run, 0, set() if kept is None else kept)


def values(found: Any) -> dict[bytes, float]:
    return {key: float(shard.values[shard.offsets[entry]][0]) for key, (shard, entry) in found.items()}


def test_the_newest_wins(cache_folder: Path) -> None:
    kept = make()
    kept.write([entry(KEYS[0], 1.0), entry(KEYS[1], 1.0)])
    kept.write([entry(KEYS[1], 2.0), entry(KEYS[2], 2.0)])
    assert values(make().find(KEYS)) == {KEYS[0]: 1.0, KEYS[1]: 2.0, KEYS[2]: 2.0}
    kept.write([])
    assert len(places.shards(kept.folder)) == 2


def test_a_shard_that_cannot_be_read_is_named_and_dropped(cache_folder: Path) -> None:
    make().write([entry(KEYS[0], 1.0)])
    kept = make()
    (shard,) = places.shards(kept.folder)
    shard.path.write_bytes(shard.path.read_bytes()[:-1])
    assert kept.find(KEYS) == {}
    assert list(kept.damaged) == [shard.path]
    kept.drop_damaged()
    assert places.shards(kept.folder) == []


def test_using_is_noted(cache_folder: Path) -> None:
    needed: set[Path] = set()
    kept = make(kept=needed)
    kept.write([entry(KEYS[0], 1.0)])
    (shard,) = places.shards(kept.folder)
    os.utime(shard.path, (100, 100))
    kept.keep(kept.find(KEYS).values())
    assert needed == {shard.path}
    assert places.shards(kept.folder)[0].used > 100


def test_others_make_room(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make("other", "before")
    other.write([entry(KEYS[0], 1.0, tokens=300)])
    monkeypatch.setenv("A2A_CACHE_LIMIT", "4kB")
    kept = make()
    kept.write([entry(KEYS[0], 1.0, tokens=200)])
    assert places.shards(other.folder) == []
    assert len(kept.find(KEYS)) == 1


def test_what_this_run_needs_is_never_evicted(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed: set[Path] = set()
    other = make("other", "before", needed)
    other.write([entry(KEYS[0], 1.0, tokens=100)])
    other.keep(other.find(KEYS).values())
    monkeypatch.setenv("A2A_CACHE_LIMIT", "4kB")
    with pytest.raises(Unusable, match=r"its features take more than 3\.91 KiB") as caught:
        make(kept=needed).write([entry(KEYS[0], 1.0, tokens=300)])
    assert "A2A_CACHE_LIMIT" in caught.value.hint
    assert len(places.shards(other.folder)) == 1


def test_what_others_write_is_no_room(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make("other", "before")
    other.write([entry(KEYS[0], 1.0, tokens=300)])
    held = places.lock_of("other")
    assert held.take()
    monkeypatch.setenv("A2A_CACHE_LIMIT", "4kB")
    with pytest.raises(Unusable, match="other runs are writing"):
        make().write([entry(KEYS[0], 1.0, tokens=200)])
    held.release()


def test_estimates_stop_early(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache_folder.mkdir()
    make().expect(2**30)
    with pytest.raises(Unusable, match="would take about 100 GiB, and the limit is 50 GiB"):
        make().expect(100 * 2**30)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 2**20})())
    with pytest.raises(Unusable, match="would take about 1 GiB, and the disk of .* has 1 MiB"):
        make().expect(2**30)


def test_only_what_this_run_wrote_is_discarded(cache_folder: Path) -> None:
    make(run="before").write([entry(KEYS[0], 1.0)])
    kept = make()
    kept.write([entry(KEYS[1], 1.0)])
    kept.discard()
    assert values(kept.find(KEYS)) == {KEYS[0]: 1.0}


@pytest.mark.parametrize(
    ("error", "text", "mistake"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk", False),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), "no space left", False),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written: Permission denied", True),
        (OSError(errno.EROFS, "Read-only file system"), "cannot be written: Read-only file system", True),
    ],
)
def test_why_nothing_could_be_written(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str, mistake: bool
) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(store, "write_shard", fails)
    with pytest.raises(Unusable, match=text) as caught:
        make().write([entry(KEYS[0], 1.0)])
    assert caught.value.mistake is mistake
    assert "A2A_CACHE" in caught.value.hint


def test_a_file_in_the_folders_place(cache_folder: Path) -> None:
    cache_folder.write_text("")
    with pytest.raises(Unusable, match="cannot be written: Not a directory"):
        make().write([entry(KEYS[0], 1.0)])


def test_without_locks_nothing_that_others_may_write_is_deleted(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = make()
    kept.alone = False
    make(run="before").write([entry(KEYS[0], 1.0, tokens=300)])
    partial = kept.folder / ".1.partial"
    partial.write_bytes(b"half")
    kept.clean()
    assert partial.exists()
    monkeypatch.setenv("A2A_CACHE_LIMIT", "4kB")

    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    with pytest.raises(Unusable, match="other runs are writing"):
        kept.write([entry(KEYS[1], 1.0, tokens=200)])
    assert len(places.shards(kept.folder)) == 1


def test_a_shard_that_only_its_owner_may_read_is_left(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make().write([entry(KEYS[0], 1.0)])

    def refused(path: Path) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(store, "Shard", refused)
    kept = make()
    assert kept.find(KEYS) == {}
    assert "Permission denied" in str(*kept.damaged.values())
    kept.drop_damaged()
    assert len(places.shards(kept.folder)) == 1


def test_a_file_in_the_place_of_the_encoders(cache_folder: Path) -> None:
    cache_folder.mkdir()
    places.encoders().write_text("")
    with pytest.raises(Unusable, match="cannot be read: Not a directory") as caught:
        make().find(KEYS)
    assert "A2A_CACHE" in caught.value.hint
