from pathlib import Path

import pytest
import torch

from a2a_core.features import MASK, VALUES
from a2a_core.features.shard import NOTHING, Entry, Shard, write_shard
from a2a_core.features.store import Place
from a2a_core.features.table import FeatureProcessor, FeatureTable

KEYS = [bytes([number]) * 16 for number in range(4)]


@pytest.fixture
def found(tmp_path: Path) -> dict[bytes, Place]:
    values = [torch.arange(6.0).view(3, 2), torch.ones(1, 2), torch.empty(0, 2)]
    entries = [
        Entry(key, value, torch.ones(len(value), dtype=torch.bool), len(value) or NOTHING)
        for key, value in zip(KEYS, values, strict=False)
    ]
    write_shard(tmp_path / "x.safetensors", entries, {})
    shard = Shard(tmp_path / "x.safetensors")
    return {key: Place(shard, number) for number, key in enumerate(KEYS[:3])}


def test_rows_have_none_one_or_several_items(found: dict[bytes, Place]) -> None:
    table = FeatureTable([(KEYS[0],), (), (KEYS[1], KEYS[0]), (KEYS[2],), (KEYS[3],), (None,), (KEYS[0], KEYS[3])], found)
    items = [table.items(row) for row in range(7)]
    assert [None if each is None else [item.length for item in each] for each in items] == [
        [3],
        [],
        [1, 3],
        [],
        None,
        None,
        None,
    ]
    assert items[0] is not None
    assert torch.equal(items[0][0].tensors[VALUES], torch.arange(6.0).view(3, 2))


def test_items_are_views_of_the_file(found: dict[bytes, Place]) -> None:
    table = FeatureTable([(KEYS[0],)], found)
    one, other = (table.items(0) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one[0].tensors[VALUES].data_ptr() == other[0].tensors[VALUES].data_ptr()


def test_items_are_padded_in_the_encoders_own_type(found: dict[bytes, Place]) -> None:
    items = FeatureTable([(KEYS[0], KEYS[1])], found).items(0)
    padded = FeatureProcessor(2, torch.bfloat16, 1).pad(items or [])
    assert padded[VALUES].dtype == torch.bfloat16
    assert padded[VALUES].tolist() == [[[0, 1], [2, 3], [4, 5]], [[1, 1], [0, 0], [0, 0]]]
    assert padded[MASK].tolist() == [[True, True, True], [True, False, False]]


def test_a_dummy_is_as_short_as_the_encoders() -> None:
    processor = FeatureProcessor(2, torch.float32, 5)
    item = processor.dummy()
    assert item.length == 5
    assert processor.pad([item])[VALUES].shape == (1, 5, 2)
    with pytest.raises(ValueError, match="before the training"):
        processor("a medium")
