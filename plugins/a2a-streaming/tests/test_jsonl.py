from a2a_core.structures import BadRow, Row
from a2a_streaming import jsonl_files
from a2a_streaming.jsonl import StreamingJsonlSource

from .conftest import read


def rows(folder, data, **options):
    (folder / "a.jsonl").write_bytes(data)
    return read(StreamingJsonlSource(path=str(folder), **options).build())[0]


def test_lines(tmp_path):
    found = rows(tmp_path, b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": "\xc3\xbc"}\n{"id": 0}')
    assert [(row.fields, row.place) for row in found] == [
        ({"a": 1}, "a.jsonl:1"), ({"a": "ü"}, "a.jsonl:4"), ({"id": 0}, "a.jsonl:5"),
    ]  # fmt: skip


def test_a_bad_line_is_one_row(tmp_path):
    bad = [b"{", b"[1]", b'{"a": "\xff"}', b'{"a": ' + b"9" * 5000 + b"}", b"[" * 100_000, b"\xef\xbb\xbf{}"]
    found = rows(tmp_path, b'{"a": 0}\n' + b"\n".join(bad) + b'\n{"a": 1}\n')
    assert [isinstance(row, BadRow) for row in found] == [False, *[True] * len(bad), False]
    reasons = [
        "is not JSON: Expecting",
        "is no JSON object but list",
        "is not UTF-8 (byte 8)",
        "cannot be read: ",
        "",
        "is not JSON",
    ]
    for number, (row, reason) in enumerate(zip(found[1:-1], reasons, strict=True), 2):
        assert row.row.place == f"a.jsonl:{number}"
        assert row.reason.startswith(reason)


def test_lines_longer_than_a_block(tmp_path):
    long = [b'{"a": "%s"}' % (b"x" * size) for size in (10, 200_000, 0, 5_000_000, 3)]
    found = rows(tmp_path, b"\n".join(long))
    assert [len(row.fields["a"]) for row in found] == [10, 200_000, 0, 5_000_000, 3]


def test_a_line_without_end_is_no_line(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl_files, "LONGEST", 1000)
    good, bad = rows(tmp_path, b"{}\n" + b"x" * (1 << 17))
    assert isinstance(good, Row)
    assert bad.reason == "a line has more than 1000 bytes"
