import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2a_chat.packing import Budget, Packing, next_fit
from a2a_chat.source import ChatSource

DATA = Path(__file__).parents[4] / "shared" / "data"
SIZE = 16
rows = st.lists(st.integers(0, SIZE + 2), max_size=60)


@given(lengths=rows, buffer=st.integers(1, 30), ways=st.sampled_from([Packing, Budget]))
def test_every_row_that_fits_comes_once_and_no_group_is_too_long(lengths, buffer, ways):
    groups = ways(SIZE, buffer)(lengths)
    assert sorted(row for group in groups for row in group) == [n for n, each in enumerate(lengths) if 0 < each <= SIZE]
    assert all(0 < sum(lengths[row] for row in group) <= SIZE for group in groups)


@given(lengths=rows, buffer=st.integers(1, 30), ways=st.sampled_from([Packing, Budget]))
def test_the_order_of_chance_stays(lengths, buffer, ways):
    groups = ways(SIZE, buffer)(lengths)
    assert all(group == sorted(group) for group in groups)
    usable = [n for n, each in enumerate(lengths) if 0 < each <= SIZE]
    for start in range(0, len(usable), buffer):
        mine = [group for group in groups if group[0] in usable[start : start + buffer]]
        assert [group[0] for group in mine] == sorted(group[0] for group in mine)
        assert {row for group in mine for row in group} == set(usable[start : start + buffer]), "no row leaves its buffer"
    assert ways(SIZE, buffer)(lengths) == groups


@given(lengths=rows)
def test_packing_is_never_worse_than_next_fit(lengths):
    usable = [n for n, each in enumerate(lengths) if 0 < each <= SIZE]
    assert len(Packing(SIZE, 1000)(lengths)) <= len(next_fit(usable, lengths, SIZE))


@given(lengths=st.lists(st.integers(1, SIZE), min_size=1, max_size=60))
def test_packing_is_within_its_bound_of_the_best(lengths):
    """11/9 of the optimum and 6/9 (Dosa 2007), which is no less than the tokens ask for."""
    least = max(-(-sum(lengths) // SIZE), sum(each > SIZE // 2 for each in lengths))
    optimum = optimal(sorted(lengths, reverse=True), least) if len(lengths) <= 8 else None
    found = len(Packing(SIZE, 1000)(lengths))
    assert found >= least
    if optimum:
        assert found <= 11 * optimum / 9 + 6 / 9


def optimal(lengths, least):
    """The fewest places, by trying all."""

    def fits(left, rooms):
        if not left:
            return True
        tried = set()
        for place, room in enumerate(rooms):
            if room >= left[0] and room not in tried:
                tried.add(room)
                if fits(left[1:], [*rooms[:place], room - left[0], *rooms[place + 1 :]]):
                    return True
        return False

    while not fits(lengths, [SIZE] * least):
        least += 1
    return least


def test_a_budget_puts_rows_of_like_length_together():
    lengths = [random.Random(0).choice([10, 11, 200, 210]) for _ in range(200)]
    lengths = [length + n % 2 for n, length in enumerate(lengths)]
    groups = Budget(440, 200)(lengths)
    apart = [max(lengths[row] for row in group) - min(lengths[row] for row in group) for group in groups]
    assert sum(each > 100 for each in apart) <= 1


MEDIA = {"image": 64, "audio": 50, "video": 128}
"""Tokens that a medium stands for."""


@pytest.mark.parametrize(
    ("sets", "size"),
    [
        (["owleval_mini", "mllm_demo"], 2048),
        (["meld_text"], 1024),
        (["meld_text", "owleval_mini"], 2048),
        (["tinyshakespeare"], 8192),
    ],
)
def test_places_are_full(chats, sets, size):
    if not DATA.is_dir():
        pytest.skip(f"there is no folder {DATA}")
    collate = chats({each: each for each in MEDIA}, max_length=size, packing=True)
    files = [DATA / each / f"{split}.jsonl" for each in sets for split in ("train", "validation")]
    lengths = [length(collate, row) for file in files if file.is_file() for row in ChatSource(path=file).build()]
    random.Random(0).shuffle(lengths)
    groups = collate.collate.group(lengths)
    used = sum(lengths[row] for group in groups for row in group)
    assert all(lengths)
    assert used / (len(groups) * size) >= 0.95


def length(collate, row):
    fields = {name: value for name, value in row.fields.items() if name in ("messages", "text", *MEDIA)}
    return collate.read(fields, **{each: [tokens] * len(fields.get(each, ())) for each, tokens in MEDIA.items()}).length
