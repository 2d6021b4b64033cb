import pickle
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from a2a_core import A2AError, Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import BadRow, Batches, Collate, absent, collator, load, prepare
from a2a_core.inference import Lines
from a2a_core.media import file_of
from a2a_core.recipe import Parts


def rows(*fields: dict[str, object]) -> Lines:
    return Lines([Row(each, str(place), Path(), f"rows:{place}") for place, each in enumerate(fields)])


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3), st.booleans())
def test_an_epoch_is_every_row_once_over_all_ranks(length: int, size: int, ranks: int, epoch: int, shuffle: bool) -> None:
    each = [Batches(length, size, shuffle, 5, rank, ranks) for rank in range(ranks)]
    for batches in each:
        batches.set_epoch(epoch)
    listed = [list(batches) for batches in each]
    assert sorted(index for batches in listed for batch in batches for index in batch) == list(range(length))
    assert {len(batches) for batches in listed} == {len(each[0])}
    assert all(len(batch) <= size for batches in listed for batch in batches)
    tail = [len(batches[-1]) for batches in listed if batches]
    assert max(tail, default=0) - min(tail, default=0) <= 1


@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 4))
def test_ranks_together_take_the_rows_of_one_big_batch(length: int, size: int, ranks: int) -> None:
    alone = list(Batches(length, size * ranks, True, 5))
    together = zip(*(Batches(length, size, True, 5, rank, ranks) for rank in range(ranks)), strict=True)
    assert [sorted(batch) for batch in alone] == [sorted(chain(*batches)) for batches in together]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 3), st.integers(0, 3))
def test_no_step_holds_a_key_twice(keys: list[int], size: int, ranks: int, epoch: int) -> None:
    each = [Batches(len(keys), size, True, 5, rank, ranks, keys=keys) for rank in range(ranks)]
    for batches in each:
        batches.set_epoch(epoch)
    listed = [list(batches) for batches in each]
    assert sorted(index for batches in listed for batch in batches for index in batch) == list(range(len(keys)))
    assert {len(batches) for batches in listed} == {len(each[0])}
    steps = [list(chain(*batches)) for batches in zip(*listed, strict=True)]
    assert all(len({keys[row] for row in step}) == len(step) <= size * ranks for step in steps)
    assert len(steps) == max(-(-len(keys) // (size * ranks)), max(map(keys.count, keys)))  # no more than must be
    assert max(map(len, steps)) - min(map(len, steps)) <= 1


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 12), st.booleans(), st.booleans())
def test_the_batches_behind_some_are_had_without_those(
    length: int, size: int, skipped: int, shuffle: bool, keyed: bool
) -> None:
    batches = Batches(length, size, shuffle, 5, keys=[row // 3 for row in range(length)] if keyed else None)
    whole = list(batches)
    batches.skip(skipped)
    assert list(batches) == whole[skipped:]
    assert list(batches) == whole, "that once alone"


def test_keys_leave_an_epoch_its_chance() -> None:
    found = set()
    for epoch in range(6):
        batches = Batches(40, 4, True, 1, keys=[place // 2 for place in range(40)])
        batches.set_epoch(epoch)
        found.add(tuple(tuple(sorted(batch)) for batch in batches))
    assert len(found) == 6


def test_epochs_and_seeds_have_their_own_order() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = Batches(100, 100, True, seed)
        batches.set_epoch(epoch)
        return next(iter(batches))

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_a_row_has_none_one_or_several_items(toy_parts: Callable[..., Parts]) -> None:
    given = (
        {"left": [1.0], "right": [1.0, 2.0], "value": 1},
        {"left": None, "right": [1.0], "value": 2},
        {"right": [3.0]},
    )
    data = prepare(rows(*given), toy_parts())
    assert [{key: [item.length for item in items] for key, items in data[n].items.items()} for n in range(3)] == [
        {"left": [1], "right": [2]},
        {"left": [], "right": [1]},
        {"left": [], "right": [1]},
    ]
    assert [data[n].targets for n in range(3)] == [{"number": 1.0}, {"number": 2.0}, {"number": None}]


def test_a_medium_that_holds_nothing_for_an_encoder_is_no_item(toy_parts: Callable[..., Parts]) -> None:
    data = prepare(rows({"left": [1.0], "right": [1.0], "value": 1}), toy_parts())
    data.media = {**data.media, "left": data.media["left"]._replace(processor=lambda raw: None)}
    sample = data[0]
    assert {key: len(items) for key, items in sample.items.items()} == {"left": 0, "right": 1}
    assert sample.targets == {"number": 1.0}


def test_a_row_that_cannot_be_processed_says_why(toy_parts: Callable[..., Parts]) -> None:
    data = prepare(rows({"left": "text", "right": [1.0]}, {"left": [1.0], "value": float("nan")}), toy_parts())
    first, second = data[0], data[1]
    assert isinstance(first, BadRow)
    assert "field `left`" in first.reason
    assert isinstance(second, BadRow)
    assert "`value`: expected a finite number" in second.reason


def test_a_row_with_nothing_for_any_encoder_cannot_be_answered(toy_parts: Callable[..., Parts]) -> None:
    given = rows({"lefft": [1.0], "value": 1})
    assert not isinstance(prepare(given, toy_parts())[0], BadRow), "in training it has its label"
    bad = prepare(given, toy_parts(), labelled=False)[0]
    assert isinstance(bad, BadRow)
    assert bad.reason == "there is nothing in field `left` or `right`"


def test_a_batch_of_bad_rows_counts_nothing(toy_parts: Callable[..., Parts]) -> None:
    parts = toy_parts()
    collate = collator(PadCollator(), parts)
    batch = collate([BadRow(Row({}, "7", Path(), "rows:7"), "unreadable")])
    assert [bad.row.id for bad in batch["bad"]] == ["7"]
    assert batch["inputs"]["size"] == 1
    assert batch["inputs"]["left"]["row"].numel() == 0
    assert torch.isnan(batch["targets"]["number"]["value"]).all()
    assert batch["ids"] == []


def test_a_modality_that_a_batch_lacks_is_one_dummy_item(toy_parts: Callable[..., Parts]) -> None:
    parts = toy_parts()
    data = prepare(rows({"left": [1.0, 2.0], "value": 1.0}, {"left": [3.0], "value": 2.0}), parts)
    batch = collator(PadCollator(), parts)([data[0], data[1]])
    assert batch["inputs"]["right"]["tensors"]["numbers"].shape == (1, 1)
    assert batch["inputs"]["right"]["row"].shape == (0,)
    assert batch["inputs"]["left"]["tensors"]["numbers"].shape == (2, 2)
    assert batch["inputs"]["left"]["row"].tolist() == [0, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_leaves_the_global_generator_alone(toy_parts: Callable[..., Parts], workers: int) -> None:
    parts = toy_parts()
    data = prepare(rows(*({"left": [float(n)], "value": n} for n in range(10))), parts)
    loader = load(data, collator(PadCollator(), parts), Batches(10, 4, True, 1), workers)
    before = torch.get_rng_state()
    first = [batch["ids"] for batch in loader]
    assert torch.equal(before, torch.get_rng_state())
    assert sorted(name for names in first for name in names) == [str(n) for n in range(10)]
    loader.set_epoch(1)
    assert [batch["ids"] for batch in loader] != first


def test_what_workers_need_can_be_pickled(toy_parts: Callable[..., Parts]) -> None:
    parts = toy_parts()
    data = pickle.loads(pickle.dumps(prepare(rows({"left": [1.0], "value": 1.0}), parts)))
    collate: Collate = pickle.loads(pickle.dumps(collator(PadCollator(), parts)))
    assert collate([data[0]])["ids"] == ["0"]


def test_a_missing_file_is_named(toy_parts: Callable[..., Parts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from a2a_core.testing.reference import ReferenceEncoder, ReferenceProcessor

    monkeypatch.setattr(ReferenceEncoder, "reads", "file")
    monkeypatch.setattr(ReferenceProcessor, "__call__", lambda self, raw: Path(raw).read_bytes())
    data = prepare(Lines([Row({"left": "gone.png"}, "0", tmp_path, "rows:1")]), toy_parts())
    bad = data[0]
    assert isinstance(bad, BadRow)
    assert bad.reason == f"field `left`: there is no file {tmp_path / 'gone.png'}"


def test_a_row_of_another_machine_names_no_file_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    here, away = (Row({}, "1", root, "shard:1") for root in (tmp_path, Path("/host/data")))
    assert file_of(here, "secret") == file_of(here, str(tmp_path / "secret")) == tmp_path / "secret"
    assert file_of(away, "picture.png") == Path("/host/data/picture.png")
    with pytest.raises(ValueError, match="may not name a file of this machine"):
        file_of(away, str(tmp_path / "secret"))


def test_a_modality_that_no_row_has_is_found(toy_parts: Callable[..., Parts]) -> None:
    found = absent(rows({"left": [1.0], "right": None}, {"left": [2.0]}), toy_parts())
    assert found == ["encoder `right` reads field `right`, which is empty in every row"]


def test_a_field_that_the_source_lacks_is_an_error(toy_parts: Callable[..., Parts]) -> None:
    class Strict(Lines):
        def column(self, field: str) -> list[object]:
            raise KeyError(f"there is no `{field}`; there is `image`")

    with pytest.raises(A2AError, match="encoder `left` reads field `left`: there is no `left`; there is `image`"):
        absent(Strict([]), toy_parts())
