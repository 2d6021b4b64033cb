"""Faults of processors of recordings."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from a2a_core import Item, RecordingConfig, Segment
from a2a_core.testing.reference import ReferenceEncoder, ReferenceProcessor


class Seconds(ReferenceProcessor):
    """A number a second."""

    def __call__(self, raw: Any) -> Item:
        segment = raw if isinstance(raw, Segment) else Segment(raw)
        whole = super().__call__(segment.medium).tensors["numbers"]
        start, end = segment.within(len(whole))
        numbers = whole[int(start) : int(end)]
        return Item({"numbers": numbers}, len(numbers))


class CutsOneOff(Seconds):
    def __call__(self, raw: Any) -> Item:
        item = super().__call__(raw)
        if not isinstance(raw, Segment) or item.length == 1:
            return item
        return Item({"numbers": item.tensors["numbers"][1:]}, item.length - 1)


class Shifts(Seconds):
    def __call__(self, raw: Any) -> Item:
        item = super().__call__(raw)
        return item._replace(tensors={"numbers": item.tensors["numbers"].roll(1)}) if isinstance(raw, Segment) else item


class ReadsWhatIsNotThere(Seconds):
    def __call__(self, raw: Any) -> Item:
        return super().__call__(raw.medium if isinstance(raw, Segment) else raw)


class Recording(RecordingConfig, ReferenceEncoder):
    """Numbers, one a second."""

    name = "recording"
    reads = "value"
    processes: ClassVar[type[Any]] = Seconds

    def processor(self) -> Any:
        return self.processes()


def test_a_right_processor_passes(judge: Any) -> None:
    assert judge(Recording) == set()
    assert "segments_are_read" in judge.skips(ReferenceEncoder)


@pytest.mark.parametrize(
    ("processes", "says"),
    [
        (CutsOneOff, "3 tokens, as a segment 2"),
        (Shifts, "differs from the recording's"),
        (ReadsWhatIsNotThere, "starts past the end"),
    ],
)
def test_a_fault_is_caught(judge: Any, processes: type[Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recording, "processes", processes)
    assert says in judge.says(Recording, "segments_are_read")
