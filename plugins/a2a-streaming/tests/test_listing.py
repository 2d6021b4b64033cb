import fsspec
import pytest

from a2a_core.errors import A2AError
from a2a_streaming import listing
from a2a_streaming.listing import labels, listed, root


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.tar", "a.tar", "c.TAR", ".hidden.tar", "notes.txt", "deep/a.tar", "x{1}.tar", "s-000.tar", "s-001.tar"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder, *locations):
    return [each.removeprefix(f"{folder}/") for each in listed(locations, [".tar"], {})]


@pytest.mark.parametrize(
    ("locations", "wanted"),
    [
        (["a.tar"], ["a.tar"]),
        (["deep"], ["deep/a.tar"]),
        (["[ab].tar"], ["a.tar", "b.tar"]),
        (["{b,a}.tar"], ["b.tar", "a.tar"]),
        (["s-{000..001}.tar"], ["s-000.tar", "s-001.tar"]),
        (["{deep/*,s-*}.tar"], ["deep/a.tar", "s-000.tar", "s-001.tar"]),
        (["**/a.tar"], ["a.tar", "deep/a.tar"]),
        (["x{1}.tar"], ["x{1}.tar"]),
        (["b.tar", "*.tar"], ["b.tar", "a.tar", "s-000.tar", "s-001.tar", "x{1}.tar"]),
    ],
)
def test_what_a_location_means(folder, locations, wanted):
    assert names(folder, *locations) == wanted
    assert names(folder, *(f"{folder}/{each}" for each in locations)) == wanted


def test_elsewhere(server):
    system = fsspec.filesystem("memory")
    for name in ("a.tar", "b.tar", "c.txt"):
        system.pipe(f"/listing/{name}", b"")
    assert listed(["memory://listing/*.tar"], [], {}) == ["memory:///listing/a.tar", "memory:///listing/b.tar"]
    assert listed(["memory://listing/"], [".tar"], {}) == ["memory:///listing/a.tar", "memory:///listing/b.tar"]
    assert listed([f"{server.url}/{{00..02}}.tar?key=1"], [], {}) == [f"{server.url}/0{n}.tar?key=1" for n in range(3)]
    assert server.asked == [], "not one request for files that are named"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("aa.tar", "there is no file"),
        ("s-{000..002}.tar", "s-002.tar"),
        ("*.zip", "no file fits"),
        ("memory://nowhere/*.tar", "no file fits memory://nowhere"),
        ("{a.tar", "a brace too many, or too few"),
        ("{0..99999999}.tar", "means more than 1000 files"),
        ("http://host/a.tar.gz?x", "http://host/a.tar.gz is compressed"),
        ("s3://bucket/{0..9}.tar", "pip install s3fs"),
    ],
)
def test_mistakes(folder, location, message, monkeypatch):
    monkeypatch.setattr(listing, "MOST", 1000)
    with pytest.raises(A2AError) as caught:
        listed([location], [".tar"], {})
    assert message in str(caught.value)


def test_a_folder_without_shards(folder):
    (folder / "bare").mkdir()
    with pytest.raises(A2AError, match=r"bare has no \*.tar file"):
        listed(["bare"], [".tar"], {})


def test_names_for_messages():
    assert labels(["/x/a.tar"]) == ["a.tar"]
    assert labels(["/x/a/1.tar", "/x/b/1.tar"]) == ["a/1.tar", "b/1.tar"]
    assert labels(["http://h/x/1.tar?secret=7", "http://h/x/2.tar"]) == ["1.tar", "2.tar"]
    assert labels(["http://h/1.tar", "http://i/1.tar"]) == ["h/1.tar", "i/1.tar"]
    assert all(root(each).is_absolute() for each in ("a/b.tar", "s3://bucket/a.tar"))
