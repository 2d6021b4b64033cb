"""Files of vectors, written as these come: at no time is more of them in memory than a block. There when all of it is.

N rows, D numbers a vector, M vectors where a row has one a token (safetensors alone):

- safetensors: `vectors` (N, D) or (M, D); `offsets` (N + 1,) int64, where a row's vectors begin and end, of M; `scales`;
  `ids` uint8, all ids in UTF-8 one behind the other, and `id_offsets` (N + 1,) int64; in the metadata, under `a2a`, of what
  model they are, as JSON.
- npy: the vectors (N, D); in `<name>.npy.json` `ids`, `scales` and `a2a`.
- parquet: columns `id`, `vector` (a list of D) and `scale`; a row group a block; `a2a` in the schema's metadata.

With int8 each vector has a scale of its own, float32: the number i stands for i * scale, and its largest number is 127.
"""

from __future__ import annotations

import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from a2a_core.errors import A2AError
from a2a_core.runs import explained
from a2a_retrieval.fingerprint import Origin
from a2a_retrieval.vectors import KEY, SUFFIXES, sidecar

HEADER = 1 << 13
"""Bytes kept at the beginning of a safetensors file for what is only known at its end."""
NPY_HEADER = 128
NAMES = {"float32": "F32", "float16": "F16", "int8": "I8", "int64": "I64", "uint8": "U8"}
"""numpy's names and those of safetensors."""


class Writer(ABC):
    """A file of vectors that grows."""

    def __init__(self, path: Path, origin: Origin) -> None:
        self.path, self.origin, self.rows = path, origin, 0

    def add(self, ids: Sequence[str], vectors: Tensor, lengths: Tensor | None = None) -> None:
        """Some rows more; A2AError for vectors that cannot be kept so."""
        if not ids:
            return
        stored, scales = kept(vectors, self.origin.dtype)
        if not np.isfinite(stored).all():
            place = int((~np.isfinite(stored).all(1)).argmax())
            row = place if lengths is None else int((lengths.cumsum(0) <= place).sum())
            what = "is not a number" if not bool(vectors[place].isfinite().all()) else f"does not fit into {self.origin.dtype}"
            raise A2AError(f"the vector of row `{ids[row]}` {what}")
        self.rows += len(ids)
        self.append([each.encode(errors="replace").decode() for each in ids], stored, scales, lengths)

    @abstractmethod
    def append(self, ids: Sequence[str], stored: NDArray[Any], scales: Any, lengths: Tensor | None) -> None:
        """Write them."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is only known now, and close."""

    @abstractmethod
    def close(self) -> None:
        """Give up."""


def check_path(path: Path, multi_vector: bool = False) -> None:
    """A2AError for a file in which such vectors cannot be kept."""
    if path.suffix not in SUFFIXES:
        raise A2AError(f"vectors are not written to `{path.name}`", hint=f"name a file that ends in {', '.join(SUFFIXES)}")
    if multi_vector and path.suffix != ".safetensors":
        raise A2AError(
            f"the head gives a vector a token, and {path.suffix} files hold one a row", hint="write a .safetensors file"
        )
    if not path.absolute().parent.is_dir():
        raise A2AError(f"there is no folder {path.absolute().parent}")


@contextmanager
def writing(path: Path, origin: Origin) -> Iterator[Writer]:
    """A writer whose file takes its place when nothing went wrong, and else leaves nothing."""
    check_path(path, origin.multi_vector)
    writers: dict[str, Callable[[Path, Origin], Writer]] = {
        ".safetensors": SafetensorsWriter,
        ".npy": NpyWriter,
        ".parquet": ParquetWriter,
    }
    partial = path.with_name(f".{path.name}.partial")
    parts = (partial, sidecar(partial))
    with explained(path):
        writer = writers[path.suffix](partial, origin)
        try:
            yield writer
            writer.finish()
            if parts[1].exists():
                parts[1].replace(sidecar(path))
            partial.replace(path)
        finally:
            writer.close()
            for part in parts:
                part.unlink(missing_ok=True)


def kept(vectors: Tensor, dtype: str) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """As they are stored, and with int8 each one's scale."""
    found = vectors.numpy()
    if dtype != "int8":
        with np.errstate(over="ignore"):
            return found.astype(dtype), None
    scales = np.abs(found).max(1, initial=0) / np.float32(127)
    scales = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    if not np.isfinite(scales).all():
        return found, None  # refused by the writer
    return np.rint(found / scales[:, None]).astype(np.int8), scales


class SafetensorsWriter(Writer):
    """Vectors as they come, then all else; the header last, into the place that was kept for it."""

    def __init__(self, path: Path, origin: Origin) -> None:
        super().__init__(path, origin)
        self.file = path.open("wb")
        self.file.write(b" " * HEADER)
        self.vectors = 0
        self.scales, self.ids = bytearray(), bytearray()
        self.offsets, self.id_offsets = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]

    def append(self, ids: Sequence[str], stored: NDArray[Any], scales: Any, lengths: Tensor | None) -> None:
        """To the file; but what there is little of is held."""
        self.file.write(np.ascontiguousarray(stored).data)
        if scales is not None:
            self.scales += scales.tobytes()
        if lengths is not None:
            self.offsets.append(self.vectors + lengths.cumsum(0).numpy())
        names = [each.encode() for each in ids]
        self.id_offsets.append(len(self.ids) + np.cumsum([len(each) for each in names], dtype=np.int64))
        self.ids += b"".join(names)
        self.vectors += len(stored)

    def finish(self) -> None:
        """What was held, and the header."""
        data: dict[str, tuple[str, list[int], Any]] = {}
        if self.origin.dtype == "int8":
            data["scales"] = "float32", [self.vectors], bytes(self.scales)
        if self.origin.multi_vector:
            data["offsets"] = "int64", [self.rows + 1], np.concatenate(self.offsets).tobytes()
        data["id_offsets"] = "int64", [self.rows + 1], np.concatenate(self.id_offsets).tobytes()
        data["ids"] = "uint8", [len(self.ids)], bytes(self.ids)
        end = self.vectors * self.origin.dimension * np.dtype(self.origin.dtype).itemsize
        header: dict[str, Any] = {"__metadata__": {"format": "pt", KEY: json.dumps(self.origin._asdict())}}
        header["vectors"] = described(self.origin.dtype, [self.vectors, self.origin.dimension], 0, end)
        for name, (dtype, shape, content) in data.items():
            self.file.write(content)
            header[name] = described(dtype, shape, end, end + len(content))
            end += len(content)
        text = json.dumps(header).encode().ljust(HEADER - 8)
        self.file.seek(0)
        self.file.write(struct.pack("<Q", len(text)) + text)
        self.file.close()

    def close(self) -> None:
        """Give up."""
        self.file.close()


def described(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    """A tensor in a header of safetensors."""
    return {"dtype": NAMES[dtype], "shape": shape, "data_offsets": [start, end]}


class NpyWriter(Writer):
    """Vectors as they come, and the header last."""

    def __init__(self, path: Path, origin: Origin) -> None:
        super().__init__(path, origin)
        self.file = path.open("wb")
        self.file.write(b" " * NPY_HEADER)
        self.ids: list[str] = []
        self.scales: list[float] = []

    def append(self, ids: Sequence[str], stored: NDArray[Any], scales: Any, lengths: Tensor | None) -> None:
        """To the file; ids and scales are held."""
        self.file.write(np.ascontiguousarray(stored).data)
        self.ids += ids
        if scales is not None:
            self.scales += scales.tolist()

    def finish(self) -> None:
        """The header, of version 1.0 of the format, and what lies beside."""
        descr = np.lib.format.dtype_to_descr(np.dtype(self.origin.dtype))
        header = repr({"descr": descr, "fortran_order": False, "shape": (self.rows, self.origin.dimension)})
        text = header.encode().ljust(NPY_HEADER - 11) + b"\n"
        self.file.seek(0)
        self.file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
        self.file.close()
        beside: dict[str, Any] = {KEY: self.origin._asdict(), "ids": self.ids}
        beside |= {"scales": self.scales} if self.origin.dtype == "int8" else {}
        with sidecar(self.path).open("w", encoding="utf-8") as file:
            json.dump(beside, file)

    def close(self) -> None:
        """Give up."""
        self.file.close()


class ParquetWriter(Writer):
    """A row group a block."""

    def __init__(self, path: Path, origin: Origin) -> None:
        import pyarrow
        from pyarrow import parquet

        super().__init__(path, origin)
        number = pyarrow.from_numpy_dtype(np.dtype(origin.dtype))
        fields = [("id", pyarrow.string()), ("vector", pyarrow.list_(number, origin.dimension))]
        fields += [("scale", pyarrow.float32())] if origin.dtype == "int8" else []
        self.schema = pyarrow.schema(fields, metadata={KEY: json.dumps(origin._asdict())})
        self.file = parquet.ParquetWriter(path, self.schema)

    def append(self, ids: Sequence[str], stored: NDArray[Any], scales: Any, lengths: Tensor | None) -> None:
        """A row group."""
        import pyarrow

        flat = pyarrow.array(stored.reshape(-1))
        columns = [pyarrow.array(ids), pyarrow.FixedSizeListArray.from_arrays(flat, self.origin.dimension)]
        columns += [pyarrow.array(scales)] if scales is not None else []
        self.file.write_table(pyarrow.table(columns, schema=self.schema), row_group_size=len(ids))

    def finish(self) -> None:
        """The footer."""
        self.file.close()

    def close(self) -> None:
        """Give up."""
        self.file.close()
