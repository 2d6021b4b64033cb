"""A file of features: safetensors, memory-mapped, each entry with a checksum; written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from xxhash import xxh3_64

from a2a_core.features.places import PARTIAL, Damaged, header
from a2a_core.manifest import sync

NOTHING = -1
"""The length of a medium that holds nothing for the encoder (its processor gave None)."""
INDEX = ("offsets", "lengths", "checksums", "keys")
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "U8": torch.uint8}


class Entry(NamedTuple):
    """What an encoder made of one medium, up to its last real token."""

    key: bytes
    values: Tensor
    """(T, C), as they are stored."""
    mask: Tensor
    """(T,) bool."""
    length: int
    """What its processor said that it would be, or NOTHING."""


def bytes_of(tensor: Tensor) -> Any:
    """A tensor's bytes, where they lie if they lie in order on the CPU."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def checksum(key: bytes, length: int, values: Tensor, mask: Tensor) -> int:
    """Of all that an entry is, as a signed integer of 64 bits."""
    hasher = xxh3_64(key + length.to_bytes(8, "little", signed=True))
    for tensor in (values, mask):
        if tensor.numel():
            hasher.update(bytes_of(tensor))
    return int(np.uint64(hasher.intdigest()).astype(np.int64))


def write_shard(path: Path, entries: Sequence[Entry], about: Mapping[str, Any]) -> None:
    """Write beside, to the disk, then rename; OSError, or what safetensors makes of it, where it cannot be."""
    tensors = {
        "values": torch.cat([entry.values for entry in entries]),
        "mask": torch.cat([entry.mask for entry in entries]).view(torch.uint8),
        "offsets": torch.tensor([0, *(len(entry.values) for entry in entries)]).cumsum(0),
        "lengths": torch.tensor([entry.length for entry in entries]),
        "checksums": torch.tensor([checksum(*(entry.key, entry.length, entry.values, entry.mask)) for entry in entries]),
        "keys": torch.from_numpy(np.frombuffer(b"".join(entry.key for entry in entries), np.uint8).copy()).view(-1, 16),
    }
    text = json.dumps(about)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        save_file(tensors, partial, {"about": text, "index": index_checksum(text, tensors)})
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def index_checksum(about: str, tensors: Mapping[str, Tensor]) -> str:
    """Of all that says what the entries are: where it was altered, nothing in the shard can be found any more."""
    hasher = xxh3_64(about.encode())
    for name in INDEX:
        hasher.update(bytes_of(tensors[name]))
    return hasher.hexdigest()


class Shard:
    """A shard, opened: values are read when they are used. Damaged where the file is no whole shard; OSError as usual."""

    def __init__(self, path: Path) -> None:
        self._open(path)

    def _open(self, path: Path) -> None:
        self.path = path
        found = header(path)
        try:
            self.about: dict[str, Any] = json.loads(found.metadata["about"])
            self._map(found.start, found.tensors, found.metadata)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise Damaged(f"it holds no features: {error}") from None

    def _map(self, start: int, tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> None:
        whole = torch.from_file(str(self.path), shared=False, size=self.path.stat().st_size, dtype=torch.uint8)
        found = {}
        for name, each in tensors.items():
            first, last = each["data_offsets"]
            found[name] = whole[start + first : start + last].view(DTYPES[each["dtype"]]).view(each["shape"])
        if index_checksum(metadata["about"], found) != metadata["index"]:
            raise Damaged("its index was altered")
        self.values, self.mask = found["values"], found["mask"].view(torch.bool)
        self.offsets, self.lengths, self.checksums = (found[name].numpy() for name in ("offsets", "lengths", "checksums"))
        self.keys = found["keys"].numpy()
        if len(self.mask) != len(self.values) or self.offsets[-1] != len(self.values):
            raise Damaged("its parts do not fit one another")

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self._open(path)  # a worker that was not forked maps it again

    def size(self, index: int) -> int:
        """Bytes of an entry."""
        tokens = int(self.offsets[index + 1] - self.offsets[index])
        return tokens * (self.values.shape[1] * self.values.element_size() + self.mask.element_size())

    def intact(self, index: int) -> bool:
        """Whether an entry is what was written."""
        start, stop = self.offsets[index : index + 2]
        found = checksum(self.keys[index].tobytes(), int(self.lengths[index]), self.values[start:stop], self.mask[start:stop])
        return found == int(self.checksums[index])
