import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_data.media import SUFFIXES
from a2a_data.media_files import groups, split

ENDINGS = [ending for endings in SUFFIXES.values() for ending in endings]
FIELDS = {"video": [".mp4", ".AVI"], "left": [".left.wav"], "audio": [".wav"]}


def made(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def found(path, fields=FIELDS):
    root, all_of_them = groups(path, fields)
    return root, [(group.id, dict(group.files)) for group in all_of_them]


def test_files_that_share_a_stem_are_one_row(tmp_path):
    made(
        tmp_path, "s2/a.wav", "s2/a.left.wav", "s2/a.mp4", "s1/b.v2.avi", "c.MP4", "c.json", "s2/a b.wav", ".x.mp4", ".h/d.mp4"
    )
    assert found(tmp_path) == (
        tmp_path,
        [
            ("c", {"video": "c.MP4"}),
            ("s1/b.v2", {"video": "s1/b.v2.avi"}),
            ("s2/a b", {"audio": "s2/a b.wav"}),
            ("s2/a", {"video": "s2/a.mp4", "left": "s2/a.left.wav", "audio": "s2/a.wav"}),
        ],
    )


def test_files_of_two_folders_are_two_rows(tmp_path):
    made(tmp_path, "x/a.mp4", "y/a.mp4", "a.wav")
    assert [name for name, _ in found(tmp_path)[1]] == ["a", "x/a", "y/a"]


def test_a_pattern_starts_where_it_has_no_magic(tmp_path):
    made(tmp_path, "data/x/clips/a.mp4", "data/x/clips/a.wav", "data/y/clips/b.mp4", "data/y/other/c.mp4")
    root, rows = found(tmp_path / "data" / "*" / "clips" / "*")
    assert root == tmp_path / "data"
    assert [name for name, _ in rows] == ["x/clips/a", "y/clips/b"]
    assert found(tmp_path / "data" / "**" / "*.mp4")[1][0] == ("x/clips/a", {"video": "x/clips/a.mp4"})


def test_a_folder_with_pattern_characters_in_its_name_is_that_folder(tmp_path):
    made(tmp_path, "x[1]/a.mp4", "x1/b.mp4")
    assert found(tmp_path / "x[1]")[1] == [("a", {"video": "a.mp4"})]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    made(tmp_path, "here/a.mp4", "there/b.mp4")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "there")
    (tmp_path / "here" / "back").symlink_to(tmp_path / "here")
    (tmp_path / "there" / "up").symlink_to(tmp_path)
    assert [name for name, _ in found(tmp_path / "here")[1]] == ["a", "link/b"]
    (tmp_path / "there" / "up").unlink()
    (tmp_path / "there" / "across").symlink_to(tmp_path / "here")
    assert [name for name, _ in found(tmp_path / "here")[1]] == ["a", "link/b"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("clps", "there is no folder"),
        ("clps", "did you mean `clips`?"),
        ("clips/a.mp4", "is a file"),
        ("*.mp4", "no file matches"),
        ("cli*", "add `/**/*`"),
    ],
)
def test_what_is_no_folder_is_an_error(tmp_path, path, message):
    made(tmp_path, "clips/a.mp4")
    with pytest.raises(A2AError) as caught:
        found(tmp_path / path)
    assert message in str(caught.value)


def test_two_files_for_one_field_are_an_error(tmp_path):
    made(tmp_path, "s/a.mp4", "s/a.avi")
    with pytest.raises(A2AError, match=r"`video` of one row would be two files: s/a\.avi and s/a\.mp4"):
        found(tmp_path)


def test_a_name_that_is_no_text_is_an_error(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")).touch()
    with pytest.raises(A2AError, match="is not UTF-8"):
        found(tmp_path)


@given(st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6), st.sampled_from(ENDINGS))
def test_a_stem_and_its_ending_make_the_name(stem, ending):
    owners = {each: field for field, endings in SUFFIXES.items() for each in endings}
    for name in (stem + ending, stem + ending.upper()):
        assert split(name, owners) == (stem, owners[ending])
