import json
from pathlib import Path

import numpy as np
import pytest

from a2a_core import manifest


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-8"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 10)
    (folder / "optimizer" / "shard-1.safetensors").write_bytes(b"moments")
    (folder / "optimizer" / ".metadata").write_bytes(b"hidden files count, too")
    manifest.write(folder, {"head.weight": np.zeros((2, 3), np.float32)}, step=8, ranks=2)
    return folder


def test_it_says_what_there_is(checkpoint: Path) -> None:
    said = json.loads((checkpoint / "manifest.json").read_text())
    assert (said["step"], said["ranks"]) == (8, 2)
    assert said["tensors"] == {"head.weight": {"shape": [2, 3], "dtype": "float32"}}
    sizes = {name: entry["bytes"] for name, entry in said["files"].items()}
    assert sizes == {"model.safetensors": 2560, "optimizer/.metadata": 23, "optimizer/shard-1.safetensors": 7}
    assert manifest.verify(checkpoint) is None
    assert manifest.read(checkpoint)["step"] == 8


def test_torch_tensors_are_named_by_their_own_types(tmp_path: Path) -> None:
    import torch

    manifest.write(tmp_path, {"bias": torch.empty(4, dtype=torch.bfloat16, device="meta")})
    assert manifest.read(tmp_path)["tensors"] == {"bias": {"shape": [4], "dtype": "bfloat16"}}


def test_writing_again_replaces_it(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"other")
    assert manifest.verify(checkpoint) is not None
    manifest.write(checkpoint, {}, step=9)
    assert manifest.verify(checkpoint) is None
    assert "manifest.json" not in manifest.read(checkpoint)["files"]


def test_what_was_cut_off_is_seen_without_reading(checkpoint: Path) -> None:
    with (checkpoint / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    assert manifest.verify(checkpoint, contents=False) == "`model.safetensors` has 1000 bytes, and 2560 were written"


def test_a_flipped_bit_is_seen_where_contents_are_compared(checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    held = bytearray(path.read_bytes())
    held[1234] ^= 1
    path.write_bytes(held)
    assert manifest.verify(checkpoint, contents=False) is None
    reason = manifest.verify(checkpoint)
    assert reason == "`model.safetensors` is damaged: its checksum is not that of what was written"


def test_a_shard_that_is_gone_is_named(checkpoint: Path) -> None:
    (checkpoint / "optimizer" / "shard-1.safetensors").unlink()
    assert manifest.verify(checkpoint) == "`optimizer/shard-1.safetensors` is missing"


def test_without_a_manifest_it_is_not_whole(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").unlink()
    assert manifest.verify(checkpoint) == "it has no manifest.json, which is written last"


@pytest.mark.parametrize("place", [5, 100, 300, -8])
def test_any_flipped_bit_of_the_manifest_is_seen(checkpoint: Path, place: int) -> None:
    path = checkpoint / "manifest.json"
    held = bytearray(path.read_bytes())
    held[place] ^= 1
    path.write_bytes(held)
    assert manifest.verify(checkpoint, contents=False) == "manifest.json is damaged"


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"files": {}}', "\x00\x00"])
def test_a_manifest_that_says_nothing_is_damaged(checkpoint: Path, text: str) -> None:
    (checkpoint / "manifest.json").write_text(text)
    assert manifest.verify(checkpoint) == "manifest.json is damaged"
