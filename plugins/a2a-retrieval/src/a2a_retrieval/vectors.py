"""Files of vectors: safetensors, npy, parquet. Read block by block, so that they need not fit in memory.

What each holds, for N rows with vectors of D numbers, is written in `vectors_writing`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2a_core.errors import A2AError
from a2a_retrieval.fingerprint import Origin

SUFFIXES = (".safetensors", ".npy", ".parquet")
KEY = "a2a"
"""Under it a file says where its vectors come from."""


class Vectors(ABC):
    """Vectors as float32, whatever they are kept as: `vectors[start:stop]`, `ids`, and of what model they are.

    Of a head with a vector a token `shape` counts all of them, and `lengths` (N,) says how many each row has.
    """

    def __init__(self, path: Path, origin: Origin, ids: list[str], shape: tuple[int, ...]) -> None:
        self.path, self.origin, self.ids, self.shape = path, origin, ids, shape
        self.lengths: NDArray[np.int64] | None = None
        self.scales: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        """(n, D) float32."""
        start, stop, _ = rows.indices(len(self))
        found = torch.from_numpy(self.kept(start, stop).astype(np.float32))
        return found if self.scales is None else found * torch.from_numpy(self.scales[start:stop, None])

    @abstractmethod
    def kept(self, start: int, stop: int) -> NDArray[Any]:
        """(n, D) as they lie in the file."""

    def check(self) -> None:
        """A2AError for a file whose parts do not fit each other."""
        rows = len(self) if self.lengths is None else len(self.lengths)
        spans = len(self) if self.lengths is None else int(self.lengths.sum())
        scales = len(self) if self.scales is None else len(self.scales)
        if len(self.shape) != 2 or self.shape[1] != self.origin.dimension:
            raise A2AError(f"{self.path} says that its vectors have {self.origin.dimension} numbers, and holds {self.shape}")
        if len(self.ids) != rows or spans != len(self) or scales != len(self):
            raise A2AError(f"{self.path} has {len(self.ids)} ids for vectors of {rows} rows", hint="embed them again")


def open_vectors(path: Path) -> Vectors:
    """A file of vectors; A2AError for what is none."""
    readers: dict[str, Callable[[Path], Vectors]] = {
        ".safetensors": SafetensorsVectors,
        ".npy": NpyVectors,
        ".parquet": ParquetVectors,
    }
    if not path.is_file():
        raise A2AError(f"there is no file {path}")
    if path.suffix not in readers:
        raise A2AError(f"{path} is no file of vectors", hint=f"`a2a embed` writes {', '.join(SUFFIXES)}")
    try:
        found = readers[path.suffix](path)
    except A2AError:
        raise
    except Exception as error:  # each library has exceptions of its own for what it cannot read
        raise A2AError(f"{path} is no file of vectors: {error}", hint="`a2a embed` writes one") from None
    found.check()
    return found


def origin_of(path: Path, text: str | bytes | None) -> Origin:
    """What a file says of its vectors; A2AError where it says nothing."""
    try:
        found = json.loads(text or "")
        return Origin(**found)
    except (TypeError, ValueError):
        raise A2AError(
            f"{path} does not say of which model its vectors are", hint="`a2a embed` writes files of vectors that do"
        ) from None


class SafetensorsVectors(Vectors):
    """Memory-mapped."""

    def __init__(self, path: Path) -> None:
        import safetensors

        library: Any = safetensors
        self.file: Any = library.safe_open(path, "np")
        origin = origin_of(path, (self.file.metadata() or {}).get(KEY))
        text, ends = self.file.get_tensor("ids").tobytes(), self.file.get_tensor("id_offsets").tolist()
        ids = [text[start:end].decode() for start, end in pairwise(ends)]
        self.slices = self.file.get_slice("vectors")
        super().__init__(path, origin, ids, tuple(self.slices.get_shape()))
        names = set(self.file.keys())
        self.lengths = np.diff(self.file.get_tensor("offsets")) if "offsets" in names else None
        self.scales = self.file.get_tensor("scales") if "scales" in names else None

    def kept(self, start: int, stop: int) -> NDArray[Any]:
        """A slice of the file."""
        found: NDArray[Any] = self.slices[start:stop]
        return found


class NpyVectors(Vectors):
    """Memory-mapped; what else there is to know lies beside, in `<name>.npy.json`."""

    def __init__(self, path: Path) -> None:
        self.array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        beside = sidecar(path)
        if not beside.is_file():
            raise A2AError(f"{path} does not say of which model its vectors are: there is no {beside.name} beside it")
        said = json.loads(beside.read_text(encoding="utf-8"))
        if not isinstance(said, Mapping) or not isinstance(said.get("ids"), list):
            raise A2AError(f"{beside} has no `ids`")
        super().__init__(path, origin_of(beside, json.dumps(said.get(KEY))), said["ids"], self.array.shape)
        self.scales = np.array(said["scales"], np.float32) if "scales" in said else None

    def kept(self, start: int, stop: int) -> NDArray[Any]:
        """Some rows."""
        return self.array[start:stop]


class ParquetVectors(Vectors):
    """Row group by row group."""

    def __init__(self, path: Path) -> None:
        from pyarrow import parquet

        self.file: Any = parquet.ParquetFile(path)
        schema = self.file.schema_arrow
        origin = origin_of(path, (schema.metadata or {}).get(KEY.encode()))
        sizes = [self.file.metadata.row_group(group).num_rows for group in range(self.file.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).tolist()
        ids = self.file.read(columns=["id"]).column(0).to_pylist()
        super().__init__(path, origin, ids, (self.starts[-1], schema.field("vector").type.list_size))
        if "scale" in schema.names:
            self.scales = np.array(self.file.read(columns=["scale"]).column(0).to_numpy())
        self.held: tuple[int, NDArray[Any]] = -1, np.zeros((0, 0))

    def kept(self, start: int, stop: int) -> NDArray[Any]:
        """Out of the row groups that hold them, of which the last stays in memory."""
        parts = [np.zeros((0, self.shape[1]), np.float32)] if start >= stop else []
        while start < stop:
            number = bisect_right(self.starts, start) - 1
            first, end = self.starts[number], min(stop, self.starts[number + 1])
            parts.append(self.group(number)[start - first : end - first])
            start = end
        return np.concatenate(parts)

    def group(self, number: int) -> NDArray[Any]:
        """A row group's vectors."""
        if self.held[0] != number:
            column = self.file.read_row_group(number, columns=["vector"]).column(0).combine_chunks()
            self.held = number, column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.shape[1])
        return self.held[1]


def sidecar(path: Path) -> Path:
    """What lies beside an .npy file."""
    return path.with_name(f"{path.name}.json")
