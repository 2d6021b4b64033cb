import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from a2a_core.features.places import Damaged
from a2a_core.features.shard import NOTHING, Entry, Shard, write_shard


def entry(number: int, tokens: int, width: int = 3, dtype: torch.dtype = torch.float32) -> Entry:
    values = torch.randn(tokens, width, generator=torch.Generator().manual_seed(number)).to(dtype)
    mask = torch.arange(tokens) % 3 != 1
    return Entry(number.to_bytes(16, "big"), values, mask, int(mask.sum()))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], dtype: torch.dtype) -> None:
    path = tmp_path_factory.getbasetemp() / "some.safetensors"
    entries = [entry(number, tokens, dtype=dtype) for number, tokens in enumerate(lengths)]
    write_shard(path, entries, {"encoder": "x"})
    shard = Shard(path)
    assert shard.about == {"encoder": "x"}
    for place, each in enumerate(entries):
        start, stop = shard.offsets[place : place + 2]
        assert shard.keys[place].tobytes() == each.key
        assert torch.equal(shard.values[start:stop], each.values)
        assert shard.values.dtype == dtype
        assert torch.equal(shard.mask[start:stop], each.mask)
        assert shard.lengths[place] == each.length
        assert shard.intact(place)


def test_nothing_is_an_entry_too(tmp_path: Path) -> None:
    nothing = Entry(b"n" * 16, torch.empty(0, 3), torch.empty(0, dtype=torch.bool), NOTHING)
    write_shard(tmp_path / "x.safetensors", [nothing], {})
    shard = Shard(tmp_path / "x.safetensors")
    assert shard.lengths.tolist() == [NOTHING]
    assert shard.intact(0)


def test_plain_safetensors_opens_it(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_shard(path, [entry(1, 2)], {})
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("values"), entry(1, 2).values)


def test_any_byte_that_changes_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_shard(path, [entry(1, 2), entry(2, 1), entry(3, 4)], {"encoder": "x", "emitted": "float32"})
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            shard = Shard(path)
        except Damaged:
            continue
        assert not all(shard.intact(number) for number in range(3)), f"byte {place} of {len(whole)}"


def test_any_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_shard(path, [entry(1, 2), entry(2, 1)], {})
    whole = path.read_bytes()
    for stop in range(len(whole)):
        path.write_bytes(whole[:stop])
        with pytest.raises(Damaged):
            Shard(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(Damaged, match="bytes instead of"):
        Shard(path)


def test_another_safetensors_file_is_no_shard(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "x.safetensors", {"format": "pt"})
    with pytest.raises(Damaged, match="holds no features"):
        Shard(tmp_path / "x.safetensors")


def test_a_worker_opens_it_again(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.safetensors", [entry(1, 2)], {})
    shard: Shard = pickle.loads(pickle.dumps(Shard(tmp_path / "x.safetensors")))
    assert torch.equal(shard.values, entry(1, 2).values)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from a2a_core.features import shard

    def fails(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shard, "sync", fails)
    with pytest.raises(OSError, match="No space left"):
        write_shard(tmp_path / "x.safetensors", [entry(1, 2)], {})
    assert list(tmp_path.iterdir()) == []


def test_what_is_mapped_outlives_its_file_and_what_is_opened_anew_does_not(tmp_path: Path) -> None:
    """As `a2a cache clear --help` says of a run's workers, forked or not."""
    path = tmp_path / "x.safetensors"
    write_shard(path, [entry(1, 4)], {})
    shard = Shard(path)
    sent = pickle.dumps(shard)
    path.unlink()
    assert shard.intact(0)
    with pytest.raises(FileNotFoundError):
        pickle.loads(sent)
