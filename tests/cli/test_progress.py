import json
from typing import Any

import pytest

from a2a_cli import progress
from a2a_cli.progress import JsonReporter, Pace, RichReporter, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_short_preparations_are_not_worth_a_word(clock: Any) -> None:
    pace = Pace(10.0)
    assert not any(pace.due("one", done, 3) for done in (1, 2, 3))


def test_a_word_every_few_seconds_and_at_the_end(clock: Any) -> None:
    pace, told = Pace(10.0), []
    for done in range(1, 31):
        if pace.due("one", done, 30):
            told.append((done, pace.left(done, 30)))
        clock.now += 1.0
    assert [done for done, _ in told] == [11, 21, 30]
    assert told[0][1] == pytest.approx(10 / 11 * 19)
    assert not pace.due("another", 1, 30), "its time begins anew"


def test_machines_and_people_are_told(clock: Any, capsys: pytest.CaptureFixture[str]) -> None:
    people, machines = RichReporter(), JsonReporter()
    for done in range(0, 61, 20):
        for reporter in (people, machines):
            reporter.prepare("features of `image`", done, 6000 if done < 60 else 60)
        clock.now += 20.0
    out, said = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert [(event["event"], event["done"], event["total"]) for event in events] == [
        ("prepare", 20, 6000), ("prepare", 40, 6000), ("prepare", 60, 60),
    ]  # fmt: skip
    assert said.splitlines()[0] == "features of `image` 20/6,000, 100 min left"
    assert said.splitlines()[-1] == "features of `image` 60/60"


def test_where_features_come_from_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for reporter in (RichReporter(), JsonReporter()):
        reporter.features("image", 1812, 188, 48 << 20)
    out, said = capsys.readouterr()
    assert said == "features of `image`: 1,812 found in the cache, 188 computed, 48 MiB\n"
    assert json.loads(out) == {"event": "features", "encoder": "image", "found": 1812, "computed": 188, "bytes": 48 << 20}


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (3600, "60 min"), (9000, "2.5 h")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
