"""Streams in data workers, and media on their way to processors."""

import io
import wave
from collections import Counter

from a2a_core.data import Collate, Streamed
from a2a_core.flow import Once
from a2a_core.structures import Item, Medium, Sample
from a2a_streaming.webdataset import WebDatasetSource

from .conftest import tar


def test_workers_read_over_http_each_row_once(server):
    """They are forked from a process that has talked to the server: nothing of its connections is theirs."""
    for number in range(5):
        server.files[f"/{number}.tar"] = tar([(f"{number}-{row}", {"cls": b"1"}) for row in range(number * 3)])
        server.faults[f"/{number}.tar"] += ["half"] * (number == 2)
    stream = WebDatasetSource(path=f"{server.url}/{{0..4}}.tar", columns={"label": "cls"}, id="__key__").build()
    assert len(stream.first(4)) == 4
    batches = Once(Streamed(stream, {}, {}), Collate(lambda samples: {"ids": [each.row.id for each in samples]}), 4, workers=2)
    found = Counter(name for batch in batches for name in batch["ids"])
    assert found == {f"{number}-{row}": 1 for number in range(5) for row in range(number * 3)}


class Sound:
    """Counts samples."""

    def __call__(self, raw):
        with wave.open(io.BytesIO(raw)) as file:
            return Item({}, file.getnframes())


def test_processors_are_given_the_bytes_of_members(tmp_path):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 300))
    (tmp_path / "a.tar").write_bytes(tar([("a", {"wav": file.getvalue()}), ("b", {"wav": b"no sound"}), ("c", {"txt": b""})]))
    data = Streamed(WebDatasetSource(path=str(tmp_path)).build(), {"audio": Medium("wav", True, Sound())}, {})
    first, second, third = data.first(3)
    assert isinstance(first, Sample)
    assert [item.length for item in first.items["audio"]] == [300]
    assert second.reason == "Error: file does not start with RIFF id"
    assert third.items == {"audio": []}
