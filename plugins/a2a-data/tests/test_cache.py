import multiprocessing
import os
import pickle
import resource

import datasets
import pytest

from a2a_core.errors import A2AError
from a2a_data import jsonl_reader
from a2a_data.cache import stamp_key
from a2a_data.jsonl import JsonlSource


def labels(path):
    return list(JsonlSource(path=path).build().column("label"))


@pytest.fixture
def reads(monkeypatch):
    """How often a file was parsed."""
    found = []
    parse = jsonl_reader.tables
    monkeypatch.setattr(jsonl_reader, "tables", lambda files: (found.append(files), parse(files))[1])
    return found


def test_an_edit_in_place_is_noticed(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": 1}\n')
    before = path.stat()
    assert labels(path) == [1]
    path.write_text('{"label": 2}\n')
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert labels(path) == [2]


def test_a_file_is_parsed_once_wherever_it_lies(tmp_path, reads):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": 1}\n')
    assert labels(path) == labels(path) == [1]
    moved = path.rename(tmp_path / "b.jsonl")
    assert labels(moved) == [1]
    assert len(reads) == 1
    assert JsonlSource(path=moved).build()[0].place == "b.jsonl:1"


def test_a_file_with_errors_leaves_nothing_behind(tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": 1}\n' * 1500 + "x\n")
    for _ in range(2):
        with pytest.raises(A2AError, match="1501:1"):
            labels(path)
    assert not list(cache.rglob("*.arrow"))


def test_the_stamp_of_a_file_follows_its_content(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"1" * 100_000)
    before, facts = stamp_key([path]), path.stat()
    assert stamp_key([path]) == before
    path.write_bytes(b"2" + b"1" * 99_999)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert stamp_key([path]) != before


def test_nothing_is_printed_and_the_settings_of_datasets_stay(tmp_path, capfd):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": 1}\n' * 3000)
    before = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    labels(path)
    assert capfd.readouterr() == ("", "")
    assert (datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()) == before


def test_a_cache_that_cannot_be_written_is_explained(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": 1}\n')
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", path / "cache")
    with pytest.raises(A2AError, match="cannot write the cache of the data in") as caught:
        labels(path)
    assert "HF_DATASETS_CACHE" in str(caught.value)


def test_a_full_disk_is_explained(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"label": "{"x" * 1000}"}}\n' * 500)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(A2AError, match="cannot write the cache"):
            labels(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(labels(path)) == 500


def test_a_file_that_cannot_be_read_is_explained(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    path.write_text('{"label": 1}\n')

    def broken(file):
        raise OSError(5, "Input/output error", str(file))

    monkeypatch.setattr(jsonl_reader, "lines", broken)
    with pytest.raises(A2AError, match=r"cannot read .*a\.jsonl: Input/output error"):
        labels(path)


def test_rows_are_pickled_by_the_name_of_their_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"label": "{"x" * 100}"}}\n' * 5000)
    rows = JsonlSource(path=path).build()
    pickled = pickle.dumps(rows)
    assert len(pickled) < 5000
    assert list(pickle.loads(pickled)) == list(rows)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_rows_are_read_in_other_processes(tmp_path, method):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"label": {n}}}\n' for n in range(3000)))
    rows = JsonlSource(path=path).build()
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(rows.__getitem__, [2999, 0, 1500]) == [rows[2999], rows[0], rows[1500]]
