import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import Segment
from a2a_core.features import Unusable, content
from a2a_core.features.content import Contents, key_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def key(raw: Any) -> bytes:
    return key_of(raw, content.read)


@given(JSON, JSON)
def test_values_have_one_key_if_they_are_one(one: Any, other: Any) -> None:
    assert (key(one) == key(other)) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def test_values_of_other_types_have_other_keys() -> None:
    image = np.arange(6, dtype=np.float32)
    values = [1, 1.0, True, "1", b"1", [1], None, image, image.reshape(2, 3), image.astype(np.float64), {"bytes": b"1"}]
    values += [Segment("a"), Segment("a", 1.0), Segment("a", 1.0, 2.0), Segment("b", 1.0), "a", torch.ones(3), torch.ones(1, 3)]
    assert len({key(value) for value in values}) == len(values)
    assert all(len(key(value)) == 16 for value in values)
    assert key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key((1, 2)) == key([1, 2])


def test_what_has_no_content_is_unusable() -> None:
    for value in (object(), {1, 2}, {"x": object()}, np.array([object()])):
        with pytest.raises(Unusable, match="cannot be told from another"):
            key(value)


def test_files_are_their_content_and_their_suffix(tmp_path: Path) -> None:
    names = {"a.png": b"one", "b.PNG": b"one", "c.jpg": b"one", "d.png": b"two"}
    for name, text in names.items():
        (tmp_path / name).write_bytes(text)
    first, same, suffix, other = (key(tmp_path / name) for name in names)
    assert first == same
    assert len({first, suffix, other, key("one"), key(b"one")}) == 5
    with pytest.raises(FileNotFoundError):
        key(tmp_path / "gone.png")


def test_a_folder_is_its_files(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"0")
    (tmp_path / "three" / "0.png").rename(tmp_path / "three" / "1.png")
    assert key(tmp_path / "one") == key(tmp_path / "two") != key(tmp_path / "three")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were read."""
    found: list[Path] = []
    real = content.read

    def counted(path: Path) -> bytes:
        found.append(path)
        return real(path)

    monkeypatch.setattr(content, "read", counted)
    return found


def old(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path


def test_a_file_that_did_not_change_is_read_once(tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED", -1)
    path = old(tmp_path / "x.png", b"one")
    for _ in range(2):
        contents = Contents(tmp_path / "contents.sqlite")
        first = contents(path)
        assert contents(path) == first
        contents.close()
    assert reads == [path]
    times = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a copy that keeps its time; the inode's own tells
    contents = Contents(tmp_path / "contents.sqlite")
    assert contents(path) != first
    contents.close()


def test_a_file_that_changed_just_now_is_not_remembered(tmp_path: Path, reads: list[Path]) -> None:
    path = old(tmp_path / "x.png", b"one")
    for _ in range(2):
        contents = Contents(tmp_path / "contents.sqlite")
        contents(path)
        contents.close()
    assert reads == [path, path]


@pytest.mark.parametrize("damage", [b"no database at all, and longer than a header of one hundred bytes" * 3, b""])
def test_a_damaged_memory_is_made_anew(tmp_path: Path, damage: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED", -1)
    path, memory = old(tmp_path / "x.png", b"one"), tmp_path / "contents.sqlite"
    memory.write_bytes(damage)
    contents = Contents(memory)
    assert contents(path) == content.read(path)
    contents.close()
    database = sqlite3.connect(memory)
    assert database.execute("SELECT count(*) FROM contents").fetchone() == (1,)
    database.close()


def test_without_a_memory_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = old(tmp_path / "x.png", b"one")
    contents = Contents(tmp_path / "file" / "contents.sqlite")
    assert contents(path) == content.read(path)
    contents.close()


def test_a_name_that_is_no_utf8_is_a_name(tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED", -1)
    path = old(tmp_path / os.fsdecode(b"caf\xe9.p\xe9g"), b"one")
    for _ in range(2):
        contents = Contents(tmp_path / "contents.sqlite")
        key_of(path, contents)
        contents.close()
    assert reads == [path]
    key(tmp_path)


def test_a_file_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked = old(tmp_path / "x.png", b"one"), []
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda self, **how: asked.append(self) or real(self, **how))
    contents = Contents(tmp_path / "contents.sqlite")
    monkeypatch.setattr(content, "read", lambda path: b"digest")
    contents(path)
    contents.close()
    assert asked.count(path) == 1
