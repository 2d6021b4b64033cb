"""Rows that are not used: bad ones up to a limit, those that the recipe leaves out, and those with which it lets none go on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from a2a_core import A2AError, Row
from a2a_core.data import BadRow
from a2a_hf.record import Quarantine


class Notes:
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
def make(tmp_path: Path) -> Any:
    file = tmp_path / "quarantine.jsonl"

    def append(path: Path, record: dict[str, Any]) -> None:
        with path.open("a") as opened:
            opened.write(json.dumps(record) + "\n")

    def quarantine() -> tuple[Quarantine, Notes]:
        notes = Notes()
        run: Any = SimpleNamespace(quarantine=file, append=append)
        reporter: Any = notes
        return Quarantine(run, reporter, 0.01, {"train": 200}, True), notes

    return quarantine, file


def rows(kind: Any, *numbers: int) -> list[BadRow]:
    return [BadRow(Row({"n": n}, str(n), Path(), f"rows:{n}"), "it has 900 tokens", kind) for n in numbers]


def test_rows_left_out_are_counted_and_end_nothing(make: Any) -> None:
    quarantine, notes = make[0]()
    quarantine.add("train", rows("left out", *range(50)))
    quarantine.add("train", rows("left out", 3, 4) + rows("bad", 60, 61))
    quarantine.conclude()
    assert any("50 rows of `train` were left out" in text for text in notes.texts)
    assert len(make[1].read_text().splitlines()) == 52
    again, notes = make[0]()  # a run that goes on
    again.add("train", rows("left out", 7) + rows("bad", 60))
    assert len(make[1].read_text().splitlines()) == 52
    with pytest.raises(A2AError, match="3 of 200 rows of `train` are bad"):
        again.add("train", rows("bad", 62))


def test_one_that_the_recipe_forbids_ends_the_run(make: Any) -> None:
    quarantine, _ = make[0]()
    for each in (quarantine, make[0]()[0]):  # and that of a run that goes on
        with pytest.raises(A2AError, match=r"rows:5 \(id 5\): it has 900 tokens"):
            each.add("train", rows("unwanted", 5))


def test_too_many_bad_rows_end_a_run_that_goes_on_too(make: Any) -> None:
    for quarantine in (make[0]()[0], make[0]()[0]):
        with pytest.raises(A2AError, match="4 of 200 rows of `train` are bad"):
            quarantine.add("train", rows("bad", 1, 2, 3, 4))
