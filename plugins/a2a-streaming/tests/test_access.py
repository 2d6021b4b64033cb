import io
import time

import fsspec
import pytest

from a2a_core.errors import A2AError
from a2a_streaming.access import Access, Reader

DATA = bytes(range(256)) * 1000


@pytest.fixture
def url(server):
    server.files["/a"] = DATA
    return f"{server.url}/a"


def test_files_are_read_by_range(server, url, tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    fsspec.filesystem("memory").pipe("/a", DATA)
    for each in (url, str(tmp_path / "a"), f"file://{tmp_path}/a", "memory://a"):
        access = Access({})
        assert access.size(each) == len(DATA)
        assert access.read(each, 1000, 2001) == DATA[1000:2001]
        assert access.read(each, 5, 5) == b""


@pytest.mark.parametrize("faults", [[500], ["half"], [503, "half", 429], ["half", "half", "half"]])
def test_what_failed_is_asked_for_again(server, url, faults):
    server.faults["/a"] += faults
    assert Access({}).read(url, 10, 1010) == DATA[10:1010]
    assert len(server.asked) == len(faults) + 1


def test_it_waits_twice_as_long_each_time(server, url, monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    server.faults["/a"] += [500] * 9
    Access({}, retries=9).read(url, 0, 1)
    assert waited == [0.01 * 2**attempt for attempt in range(9)]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(500, "the server answers 500 Internal Server Error"), ("half", "Not enough data"), ("slow", "no answer within 0.3 s")],
)
def test_in_the_end_it_gives_up_and_says_why(server, url, fault, reason):
    server.faults["/a"] += [fault] * 2
    with pytest.raises(OSError, match=r"tried 2 times") as caught:
        Access({}, retries=1, timeout=0.3).read(url, 0, 100)
    assert reason in str(caught.value)
    assert Access({}).read(url, 0, 3) == DATA[:3]


@pytest.mark.parametrize(("fault", "reason"), [(404, "there is no such file"), (403, "the server answers 403 Forbidden")])
def test_what_will_not_change_is_asked_for_once(server, url, fault, reason):
    server.faults["/a"] += [fault] * 9
    with pytest.raises(OSError, match=reason):
        Access({}).read(url, 0, 100)
    assert len(server.asked) == 1


def test_a_server_that_fails_is_no_missing_file(server, monkeypatch):
    """fsspec says that there is no file, whatever went wrong."""
    server.files["/a"] = DATA
    monkeypatch.setattr(server.RequestHandlerClass, "do_HEAD", lambda self: self.send_error(500))
    server.faults["/a"] += [500]
    assert Access({}).size(f"{server.url}/a") == len(DATA)
    with pytest.raises(OSError, match=r"^there is no such file$"):
        Access({}).size(f"{server.url}/b")


def test_a_server_without_ranges_is_noticed(server, url):
    server.ranges = False
    with pytest.raises(OSError, match=r"1000 bytes were asked for, 256000 came: the server does not give parts"):
        Access({}, retries=0).read(url, 0, 1000)


@pytest.mark.parametrize(("url", "hint"), [("s3://bucket/a", "pip install s3fs"), ("gs://bucket/a", "pip install gcsfs")])
def test_what_is_not_installed_can_be(url, hint):
    with pytest.raises(A2AError) as caught:
        Access({}).size(url)
    assert hint in str(caught.value)


def test_an_unknown_protocol():
    with pytest.raises(A2AError, match="nothing that is installed reads `nosuch://`"):
        Access({}).size("nosuch://a")


def test_a_reader_is_a_file(server, url):
    file, real = Reader(Access({}), url, largest=1 << 17), io.BytesIO(DATA)
    for offset, size in (
        (0, 10),
        (10, 100),
        (70_000, 5),
        (100, 3),
        (255_990, 50),
        (0, -1),
        (256_000, 1),
        (300_000, 9),
        (5, 200_000),
    ):
        assert file.seek(offset) == real.seek(offset)
        assert file.read(size) == real.read(size), (offset, size)
        assert file.tell() == real.tell() or offset > len(DATA)
    file = Reader(Access({}), url, largest=1 << 17)
    file.seek(1)
    pieces = list(iter(file.piece, b""))
    assert b"".join(pieces) == DATA[1:]
    assert max(map(len, pieces)) <= 1 << 17


def test_small_rows_take_few_requests(server, url):
    file = Reader(Access({}), url)
    while file.read(512):
        pass
    assert server.asked == [("/a", 0, 1 << 16), ("/a", 1 << 16, 3 << 16), ("/a", 3 << 16, len(DATA))]
