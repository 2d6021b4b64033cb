from pathlib import Path

import pytest

from a2a_core.errors import A2AError
from a2a_data.files import labels, matched

SUFFIXES = (".jsonl", ".ndjson")


@pytest.fixture
def folder(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "c.NDJSON", ".hidden.jsonl", "notes.txt", "deep/a.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    return tmp_path


def names(found, folder):
    return [file.relative_to(folder).as_posix() for file in found]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("notes.txt", ["notes.txt"]),
        (".", ["a.jsonl", "b.jsonl", "c.NDJSON"]),
        ("*.jsonl", ["a.jsonl", "b.jsonl"]),
        ("[b-z].*", ["b.jsonl", "c.NDJSON"]),
        ("**/a.jsonl", ["a.jsonl", "deep/a.jsonl"]),
    ],
)
def test_a_path_is_a_file_a_folder_or_a_pattern(folder, path, wanted):
    assert names(matched(folder / path, SUFFIXES), folder) == wanted


def test_a_file_with_pattern_characters_in_its_name_is_that_file(tmp_path):
    (tmp_path / "a[1].jsonl").write_text("{}")
    (tmp_path / "a1.jsonl").write_text("{}")
    assert names(matched(tmp_path / "a[1].jsonl", SUFFIXES), tmp_path) == ["a[1].jsonl"]


def test_files_are_absolute(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert matched(Path("deep"), SUFFIXES) == (folder / "deep" / "a.jsonl",)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("x.jsonl", "there is no file"),
        ("nowhere/x.jsonl", "there is no folder"),
        ("*.csv", "no file matches"),
        ("dee*", "no file matches"),
        ("empty", "has no *.jsonl or *.ndjson file"),
    ],
)
def test_what_is_not_there_is_an_error(folder, path, message):
    (folder / "empty").mkdir()
    with pytest.raises(A2AError) as caught:
        matched(folder / path, SUFFIXES)
    assert message in str(caught.value)


def test_a_misspelt_file_is_suggested(folder):
    with pytest.raises(A2AError, match=r"did you mean `b\.jsonl`"):
        matched(folder / "b.json", SUFFIXES)


def test_labels_are_short_and_tell_files_apart(folder):
    assert labels(matched(folder / "*.jsonl", SUFFIXES)) == ("a.jsonl", "b.jsonl")
    assert labels(matched(folder / "**/a.jsonl", SUFFIXES)) == ("a.jsonl", "deep/a.jsonl")
