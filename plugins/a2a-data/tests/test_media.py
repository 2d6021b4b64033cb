import json
import os
import pickle
import re

import pytest

from a2a_core.errors import A2AError
from a2a_core.testing import checks
from a2a_data import media_reader
from a2a_data.media import MediaSource

WALK, SIT = {"label": "walk", "start": 0, "end": 2.5}, {"label": "sit", "start": 2.5, "end": 4}


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    for name in ("s1/a.mp4", "s1/a.wav", "s1/b.mp4", "s2/c.avi"):
        put(folder, name)
    (folder / "s1/a.txt").write_text("a man\nwalks\n")
    for name, label, segments in (("s1/a", "adl", [WALK, SIT]), ("s1/b", "fall", []), ("s2/c", "fall", [SIT])):
        put(folder, f"{name}.json", {"annotation": {"label": label}, "segments": segments})
    return folder


def put(folder, name, document=None):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("" if document is None else json.dumps(document, indent=1))
    return path


def opened(folder, **options):
    return MediaSource(path=folder, **options).build()


def failure(folder, **options):
    with pytest.raises(A2AError) as caught:
        opened(folder, **options)
    return str(caught.value)


def labelled(folder, **options):
    return opened(folder, labels="json", **{"json": {"label": "$.annotation.label"}} | options)


def test_rows_hold_paths_and_texts(clips):
    rows = opened(clips)
    assert [row.fields for row in rows] == [
        {"id": "s1/a", "audio": "s1/a.wav", "video": "s1/a.mp4", "text": "a man\nwalks"},
        {"id": "s1/b", "video": "s1/b.mp4"},
        {"id": "s2/c", "video": "s2/c.avi"},
    ]
    assert [row.id for row in rows] == ["s1/a", "s1/b", "s2/c"]
    assert [row.place for row in rows] == ["s1/a.wav", "s1/b.mp4", "s2/c.avi"]
    assert {row.root for row in rows} == {clips}
    assert list(rows.column("text")) == ["a man\nwalks", None, None]
    assert rows.notes == []


def test_fields_say_which_files_count(clips):
    assert [row.fields for row in opened(clips, fields={"clip": [".mp4"]})] == [
        {"id": "s1/a", "clip": "s1/a.mp4"},
        {"id": "s1/b", "clip": "s1/b.mp4"},
    ]
    assert [row.id for row in opened(clips / "*" / "*.wav")] == ["s1/a"]


def test_a_text_without_a_medium_is_a_row_only_among_texts(clips):
    (clips / "LICENSE.txt").write_text("free")
    assert [row.id for row in opened(clips)] == ["s1/a", "s1/b", "s2/c"]
    texts = opened(clips, fields={"text": [".txt"]})
    assert [(row.id, row.fields["text"], row.place) for row in texts] == [
        ("LICENSE", "free", "LICENSE.txt"),
        ("s1/a", "a man\nwalks", "s1/a.txt"),
    ]


def test_the_folder_is_the_label(tmp_path):
    for name in ("train/cat/1.png", "train/dog/deep/2.png"):
        put(tmp_path, name)
    assert list(opened(tmp_path / "train", labels="folder").column("label")) == ["cat", "deep"]
    put(tmp_path, "train/3.png")
    assert "3.png lies in no folder below" in failure(tmp_path / "train", labels="folder")


def test_a_json_path_fills_a_field(clips):
    rows = labelled(clips)
    assert [row.fields["label"] for row in rows] == ["adl", "fall", "fall"]
    rows = labelled(clips, json={"kind": "$.annotation.label", "first": "$.segments[0].label"})
    assert list(rows.column("kind")) == ["adl", "fall", "fall"]
    assert [row.fields.get("first", "absent") for row in rows] == ["walk", "absent", "sit"]


def test_segments_become_samples(clips):
    rows = labelled(clips, json={"segments": "$.segments", "group": "$.annotation.label"}, explode="segments")
    assert [(row.id, row.place) for row in rows] == [
        ("s1/a#0", "s1/a.wav segments[0]"),
        ("s1/a#1", "s1/a.wav segments[1]"),
        ("s2/c#0", "s2/c.avi segments[0]"),
    ]
    assert rows[1].fields["video"] == "s1/a.mp4"
    assert {name: rows[1].fields[name] for name in SIT} == SIT
    assert list(rows.column("label")) == ["walk", "sit", "sit"]
    assert rows.notes == ["1 of 3 rows of clips have nothing in `segments` and give no sample"]
    late = labelled(clips, json={"segments": "$.segments[?@.end > 3]"}, explode="segments")
    assert [row.id for row in late] == ["s1/a#0", "s2/c#0"]


def test_a_row_without_label_file_is_not_labelled(clips):
    (clips / "s1/b.json").unlink()
    rows = labelled(clips)
    assert "label" not in rows[1].fields
    assert rows.notes == ["1 of 3 rows of clips have no labels, such as s1/b.mp4"]
    assert labelled(clips, limit=1).notes == []
    assert list(rows.column("label")) == ["adl", None, "fall"]


def test_another_ending_or_one_file_for_all(clips):
    put(clips, "s1/a.meta.json", {"label": "x"})
    assert [row.fields.get("label") for row in opened(clips, labels="json", json_file=".meta.json")] == ["x", None, None]
    put(clips, "labels.json", {"s1/a": {"label": 1}, "s2/c.avi": {"label": 2}, "s9/z": {"label": 3}})
    rows = opened(clips, labels="json", json_file="labels.json")
    assert [row.fields.get("label") for row in rows] == [1, None, 2]
    assert rows.notes == ["1 of 3 rows of clips have no labels, such as s1/b.mp4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{\n "annotation": {"label": fall}\n}', "s1/b.json:2:26 is not JSON: Expecting value"),
        (b'{"annotation": ', "s1/b.json:1:16 is not JSON"),
        (b"", "s1/b.json:1:1 is not JSON"),
        (b'"\xff"', "s1/b.json is not UTF-8 (byte 2)"),
        (b"[" * 100_000, "s1/b.json cannot be read"),
    ],
)
def test_a_broken_label_file_is_named(clips, content, message):
    (clips / "s1/b.json").write_bytes(content)
    for _ in range(2):
        with pytest.raises(A2AError) as caught:
            labelled(clips)
        assert message in str(caught.value)


def test_several_broken_label_files_are_reported_together(clips):
    for name in ("s1/a.json", "s2/c.json"):
        (clips / name).write_text("x")
    with pytest.raises(A2AError) as caught:
        labelled(clips)
    assert "s1/a.json:1:1" in str(caught.value)
    assert "s2/c.json:1:1" in str(caught.value)


def test_a_path_that_selects_several_values_names_the_file(clips):
    with pytest.raises(
        A2AError, match=r"s1/a\.json \(row `s1/a`\): `\$\.segments\[\*\]\.label` selects 2 values, `label` is one"
    ):
        labelled(clips, json={"label": "$.segments[*].label"})


def test_a_path_that_selects_nothing_anywhere_is_an_error(clips):
    with pytest.raises(A2AError) as caught:
        labelled(clips, json={"label": "$.annotation.lable", "segments": "$.segments"})
    assert "`$.annotation.lable` (for `label`) selects nothing in any label file, such as s1/a.json" in str(caught.value)
    assert "did you mean `$.annotation.label`?" in str(caught.value)


def test_no_label_file_at_all_is_an_error(clips):
    message = failure(clips, labels="json", json_file=".meta.json")
    assert "no row of" in message
    assert "s2/c.meta.json" in message
    assert "did you mean `c.json`?" in message
    put(clips, "labels.json", {"a": {"label": 1}})
    assert "labels.json names no row of" in failure(clips, labels="json", json_file="labels.json")
    assert "did you mean `labels.json`?" in failure(clips, labels="json", json_file="lables.json")
    put(clips, "labels.json", [1])
    assert "holds no object whose keys are rows but a list" in failure(clips, labels="json", json_file="labels.json")


def test_a_folder_without_media_is_an_error(tmp_path):
    put(tmp_path, "a.xyz")
    assert "has no file that ends in .jpg or .jpeg" in failure(tmp_path)
    put(tmp_path, "b.txt")
    assert "has no file that ends in" in failure(tmp_path)


def test_a_text_that_is_not_utf_8_is_named(clips):
    (clips / "s1/a.txt").write_bytes(b"ab\xff")
    assert "s1/a.txt is not UTF-8 (byte 3)" in failure(clips)


def test_ids_may_come_from_labels(clips):
    for name in ("s1/b", "s2/c"):
        put(clips, f"{name}.json", {"uid": "x"})
    assert "two rows have the id `x`: s1/b.mp4 and s2/c.avi" in failure(clips, labels="json", json={"id": "$.uid"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": {}}, "`fields` names no ending"),
        ({"fields": {"video": ["mp4"]}}, "`fields.video`: an ending begins with a dot, such as `.mp4`; got `mp4`"),
        ({"fields": {"a": [".wav"], "b": [".WAV"]}}, "`.WAV` belongs to `a` and to `b`"),
        ({"labels": "json", "json": {}}, "needs `json`"),
        ({"labels": "json", "json": {"label": "label"}}, "`json.label` = 'label' is no JSON path"),
        ({"labels": "json", "json": {"video": "$.x"}}, "`video` is a field of `fields` and of `json`"),
        ({"labels": "json", "json_file": ""}, "`json_file` is empty"),
        (
            {"labels": "folder", "json": {"label": "$.x"}},
            '`json` is read with `labels = "json"` alone, and `labels` is "folder"',
        ),
        ({"json": {"label": "$.x"}}, '`json` is read with `labels = "json"` alone, and `labels` is "none"'),
        ({"labels": "folder", "json_file": ".meta.json"}, '`json_file` is read with `labels = "json"` alone'),
    ],
)
def test_wrong_options_are_an_error(clips, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MediaSource(path=clips, **options)


def test_a_filled_recipe_may_name_what_is_not_read(clips):
    MediaSource(path=clips, labels="folder", json={"label": "$.label"}, json_file=".json")


def test_labels_are_read_once_and_edits_are_noticed(clips, monkeypatch):
    read = []
    parsed = media_reader.MediaReader.tables
    monkeypatch.setattr(media_reader.MediaReader, "tables", lambda reader: (read.append(1), parsed(reader))[1])

    def labels():
        return list(labelled(clips).column("label"))

    assert labels() == labels() == ["adl", "fall", "fall"]
    assert len(read) == 1
    before = (clips / "s1/b.json").stat()
    (clips / "s1/b.json").write_text((clips / "s1/b.json").read_text().replace("fall", "faul"))
    os.utime(clips / "s1/b.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert labels() == ["adl", "faul", "fall"]
    put(clips, "s3/d.mp4")
    assert labels() == ["adl", "faul", "fall", None]
    (clips / "s1/b.json").unlink()
    assert labels() == ["adl", None, "fall", None]
    (clips / "s1/a.txt").write_text("other")
    assert labelled(clips)[0].fields["text"] == "other"


def test_more_rows_than_a_piece_of_the_table(tmp_path):
    for n in range(2100):
        put(tmp_path, f"{n:04}.wav")
    rows = opened(tmp_path)
    assert [row.id for row in rows] == [f"{n:04}" for n in range(2100)]
    assert len(pickle.dumps(rows)) < 5000


def test_folders_pass_the_kit(clips):
    sources = [MediaSource(path=clips, columns={"sound": "audio"}), MediaSource(path=clips, labels="folder")]
    sources.append(MediaSource(path=clips, labels="json", json={"x": "$.segments"}, explode="x"))
    for source in sources:
        for check in checks(source):
            check()
