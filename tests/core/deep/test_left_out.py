"""Rows that the recipe leaves out are no mistakes of the data."""

from pathlib import Path
from typing import Any

from a2a_core import Row
from a2a_core.data import BadRow
from a2a_core.deep.samples import refuse_bad
from a2a_core.deep.survey import Problems


def test_a_row_that_is_left_out_is_no_bad_one() -> None:
    data: Any = range(20)
    row = Row({}, "7", Path(), "rows:7")
    found: dict[str, list[str]] = {}
    for kind in ("left out", "bad"):
        problems: Any = Problems.__new__(Problems)
        texts: list[str] = []
        problems.add = lambda every, *_, texts=texts: texts.extend(each.message for each in every)
        samples: Any = [BadRow(row, "it has 900 tokens", kind), object()]
        refuse_bad("train", data, samples, 0.01, problems)
        found[kind] = texts
    assert found["left out"] == []
    assert found["bad"][0] == "rows:7 (id 7): it has 900 tokens"
