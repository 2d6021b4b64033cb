import pickle
from pathlib import Path
from typing import Any

import pytest

from a2a_core import Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import BadRow, Collate
from a2a_core.structures import Sample
from a2a_core.testing.reference import ReferenceProcessor, sample
from a2a_hf.chunks import Chunks

LENGTHS = [5, 1, 9, 2, 7, 1, 3]


def row(index: int, left: int, *right: int) -> Sample:
    processor = ReferenceProcessor()
    items = {"left": [processor([1.0] * left)], "right": [processor([1.0] * length) for length in right]}
    return sample(index, items)


def cut(rows: int, tokens: int, samples: list[Sample | BadRow]) -> dict[str, Any]:
    collate = Collate(PadCollator().build(dict.fromkeys(("left", "right"), ReferenceProcessor()), {}, {}))
    return pickle.loads(pickle.dumps(Chunks(collate, rows, tokens)))(samples)


@pytest.mark.parametrize(
    ("rows", "tokens", "wanted"),
    [
        (3, 0, [[1, 1, 2], [3, 5, 7], [9]]),
        (7, 0, [[1, 1, 2, 3, 5, 7, 9]]),
        (7, 8, [[1, 1, 2], [3], [5], [7], [9]]),  # 9 is longer than a chunk may be, and alone
        (7, 14, [[1, 1, 2, 3], [5, 7], [9]]),
        (2, 14, [[1, 1], [2, 3], [5, 7], [9]]),
    ],
)
def test_chunks_hold_what_fits(rows: int, tokens: int, wanted: list[list[int]]) -> None:
    found = cut(rows, tokens, [row(index, length) for index, length in enumerate(LENGTHS)])
    assert [chunk["inputs"]["left"]["tensors"]["lengths"].tolist() for chunk in found["chunks"]] == wanted
    ids = sorted(name for chunk in found["chunks"] for name in chunk["ids"])
    assert ids == [f"row-{index}" for index in range(len(LENGTHS))]


def test_every_modality_is_padded_and_counts() -> None:
    """Two samples are 2 x 2 and 3 x 4 tokens."""
    samples: list[Sample | BadRow] = [row(0, 2, 1, 1), row(1, 1, 4)]
    assert len(cut(2, 16, samples)["chunks"]) == 1
    assert len(cut(2, 15, samples)["chunks"]) == 2


def test_bad_rows_are_handed_on_and_a_share_of_them_alone_counts_nothing() -> None:
    bad = BadRow(Row({}, "7", Path(), "toy:7"), "no numbers")
    found = cut(2, 0, [row(0, 1), bad, row(1, 1), row(2, 1)])
    assert found["bad"] == [bad]
    assert [chunk["ids"] for chunk in found["chunks"]] == [["row-0", "row-1"], ["row-2"]]
    (blank,) = cut(2, 0, [bad])["chunks"]
    assert blank["ids"] == []
    assert blank["inputs"]["size"] == 1
