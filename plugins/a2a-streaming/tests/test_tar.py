import io
import os
import tarfile

import pytest

from a2a_core.structures import BadRow, Row
from a2a_streaming.webdataset import WebDatasetSource

from .conftest import read, tar


def rows(folder, *shards, **options):
    for number, data in enumerate(shards):
        (folder / f"{number}.tar").write_bytes(data)
    return read(WebDatasetSource(path=str(folder), **options).build())[0]


def fields(folder, *shards, **options):
    return [row.fields if isinstance(row, Row) else row.reason for row in rows(folder, *shards, **options)]


def test_what_members_become(tmp_path):
    members = {"jpg": b"\xff", "CLS": b" 3\n", "txt": "ü".encode(), "seg.png": b"p", "meta.json": b"[1]", "class": b"cat"}
    found = rows(
        tmp_path,
        tar([("./a.b/7", members), ("8", {"json": b'{"id": "x", "label": null, "jpeg": 0}'}), ("9", {"json": b"[2]"})]),
    )
    assert found[0].fields == {
        "__key__": "a.b/7", "jpg": b"\xff", "cls": 3, "txt": "ü", "seg.png": b"p", "meta.json": [1], "class": "cat",
    }  # fmt: skip
    assert found[1].fields == {"__key__": "8", "id": "x", "label": None, "jpeg": 0}
    assert found[2].fields == {"__key__": "9", "json": [2]}
    assert [row.id for row in found] == ["0.tar/a.b/7", "x", "0.tar/9"]


def test_several_columns_for_a_field(tmp_path):
    shard = tar([("a", {"png": b"1", "jpg": b"2"}), ("b", {"jpeg": b"3"}), ("c", {"txt": b""})])
    found = fields(tmp_path, shard, columns={"image": "jpg;jpeg;png", "name": "__key__"}, id="__key__")
    assert found == [{"image": b"2", "name": "a"}, {"image": b"3", "name": "b"}, {"txt": "", "name": "c"}]


def test_keys_are_grouped_as_they_follow_one_another(tmp_path):
    shard = tar([("a", {"x": b"1"}), ("b", {"x": b"2"}), ("a", {"x": b"3"})])
    assert [row["__key__"] for row in fields(tmp_path, shard)] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"json": b"{"}, "member `json` cannot be read: Expecting property name"),
        ({"txt": b"\xff"}, "member `txt` cannot be read: 'utf-8' codec"),
        ({"jpg": b"", "JPG": b""}, "has two members `jpg`"),
        ({"jpg": b"", "json": b'{"jpg": 1}'}, "`jpg` is a member, and a key of the member `json` too"),
        ({"cls": b"9" * 5000}, "member `cls` cannot be read"),
    ],
)
def test_a_bad_row_is_one_row(tmp_path, members, reason):
    first, second = rows(tmp_path, tar([("a", members), ("b", {"txt": b"t"})]))
    assert isinstance(first, BadRow)
    assert (first.row.place, reason in first.reason) == ("0.tar/a", True)
    assert second.fields["txt"] == "t"


@pytest.mark.parametrize("version", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_archive(tmp_path, version):
    """Long names, folders, links, names that are no rows; read from the middle too."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=version) as archive:
        for name, kind in (("dir", tarfile.DIRTYPE), ("link.jpg", tarfile.SYMTYPE), ("README", b"0"), ("__meta__.json", b"0")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "elsewhere"
            archive.addfile(member)
        for number in range(5):
            member = tarfile.TarInfo(f"{'d' * 90}/{'n' * 90}{number}.txt" if version else f"{number}.txt")
            member.size = 600
            archive.addfile(member, io.BytesIO(b"%d" % number * 600))
    (tmp_path / "0.tar").write_bytes(file.getvalue())
    stream = WebDatasetSource(path=str(tmp_path)).build()
    whole = read(stream)[0]
    assert [row.fields["txt"][:2] for row in whole] == ["00", "11", "22", "33", "44"]
    lane = stream.lane(0, 1, None, 0, None)
    next(iter(lane))
    assert list(stream.lane(0, 1, None, 0, lane.state())) == whole[1:]


def test_archives_behind_one_another(tmp_path):
    shards = [tar([(str(number), {"cls": b"%d" % number})]) for number in range(3)]
    assert [row["cls"] for row in fields(tmp_path, b"".join(shards))] == [0, 1, 2]


@pytest.mark.parametrize("cut", [1, 511, 512, 513, 1024, 1535, 1536])
def test_an_archive_without_its_end(tmp_path, cut):
    """Three rows of 1024 bytes: one that may lack a member, for all one sees, is not given."""
    whole = tar([(str(number), {"txt": b"%d" % number}) for number in range(3)], end=False)
    found = fields(tmp_path, whole[: len(whole) - cut])
    assert found[-1].startswith("it is cut off at byte")
    assert [row["txt"] for row in found[:-1]] == list("012")[: 2 if cut <= 512 else 1]


def test_a_damaged_header(tmp_path):
    whole = bytearray(tar([(str(number), {"txt": b"%d" % number}) for number in range(4)]))
    whole[2 * 1024 + 5] ^= 1
    found = fields(tmp_path, bytes(whole))
    assert [row["txt"] for row in found[:-1]] == ["0"]
    assert "a damaged one, at byte 2048" in found[-1]


def test_an_archive_with_holes_is_refused(tmp_path):
    with (tmp_path / "a.bin").open("wb") as file:
        os.truncate(file.fileno(), 1 << 20)
    if os.system(f"tar --sparse -cf {tmp_path}/0.tar -C {tmp_path} a.bin") != 0:
        pytest.skip("there is no GNU tar")
    (found,) = read(WebDatasetSource(path=str(tmp_path / "0.tar")).build())[0]
    assert "stored with holes" in found.reason
