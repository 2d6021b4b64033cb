"""Vectors by id: in memory while they are few, in a temporary file when they are many."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from a2a_retrieval.scoring import unit

Floats = NDArray[np.float32]
LIMIT = 2**30
"""Bytes of vectors that are held in memory."""


class KeptVectors:
    """The vectors of each id, of several that came with one id those of the first; one an id, or one a token."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        self.names: list[bytes] = []
        self.lengths: list[int] = []
        self.rows = Rows()

    def add(self, ids: Tensor, names: Tensor, vectors: Tensor, mask: Tensor) -> None:
        """Of a batch: ids (B,), 0 for none, names (B, L) in UTF-8, vectors (B, D) or (B, T, D), and which of them are real."""
        late = vectors.dim() == 3
        there = (mask.any(1) if late else mask) & (ids != 0).to(mask.device)
        lengths = mask.sum(1) if late else torch.ones_like(ids)
        flat = vectors.detach().float()[mask & there[:, None]] if late else vectors.detach().float()[there]
        chosen = there.nonzero()[:, 0].cpu()
        given = [bytes(row).rstrip(b"\0") for row in names.cpu()[chosen].numpy()]
        self.take(ids.cpu()[chosen].tolist(), given, lengths.cpu()[chosen].tolist(), flat.cpu())

    def take(self, ids: list[int], names: list[bytes], lengths: list[int], vectors: Tensor) -> None:
        """The vectors (N, D) of several ids, one id's after the other's, so many each."""
        new = []
        for id_, name, length in zip(ids, names, lengths, strict=True):
            new.append(id_ not in self.places)
            if new[-1]:
                self.places[id_] = len(self.places)
                self.names.append(name)
                self.lengths.append(length)
        if any(new):
            self.rows.add(vectors.numpy()[np.repeat(np.array(new), lengths)])

    def state(self) -> dict[str, Any]:
        """All of it."""
        return {
            "ids": list(self.places),
            "names": list(self.names),
            "lengths": list(self.lengths),
            "vectors": torch.from_numpy(self.rows.array()),
        }

    def merge(self, state: Mapping[str, Any]) -> None:
        """What another holds."""
        self.take(state["ids"], state["names"], state["lengths"], state["vectors"])


class Rows:
    """Rows of numbers (N, D), to be added to and read."""

    def __init__(self) -> None:
        self.blocks: list[Floats] = []
        self.held = self.count = self.width = 0
        self.file: IO[bytes] | None = None

    def add(self, rows: Floats) -> None:
        """More of them; beyond the limit all go into a file that nobody else sees."""
        self.count, self.width, self.held = self.count + len(rows), rows.shape[1], self.held + rows.nbytes
        self.blocks.append(np.ascontiguousarray(rows))
        if self.held > LIMIT:
            if self.file is None:
                self.file = tempfile.TemporaryFile(prefix="a2a-vectors-")  # noqa: SIM115 - closed with this object
                weakref.finalize(self, self.file.close)
            self.file.seek(0, 2)
            for block in self.blocks:
                self.file.write(block.data)
            self.blocks, self.held = [], LIMIT

    def array(self) -> Floats:
        """(N, D), memory-mapped if they lie in a file."""
        if self.file is not None:
            self.file.flush()
            return np.memmap(self.file, np.float32, "c", shape=(self.count, self.width))
        self.blocks = [np.concatenate([np.zeros((0, self.width), np.float32), *self.blocks])]
        return self.blocks[0]


class Cut:
    """Some rows of an array in an order of their own, cut to their first numbers: read when they are asked for."""

    def __init__(self, array: Floats, order: NDArray[np.int64], width: int, unit: bool) -> None:
        self.array, self.order, self.unit = array, order, unit
        self.shape = (len(order), width)

    def __getitem__(self, rows: slice) -> Tensor:
        """(n, width), scaled to length 1 if they are cut and were of length 1 before."""
        found = torch.from_numpy(self.array[self.order[rows]])
        if self.shape[1] == found.shape[1]:
            return found
        cut = found[:, : self.shape[1]]
        return unit(cut) if self.unit else cut


def in_order(kept: KeptVectors, order: NDArray[np.int64], width: int, unit: bool) -> tuple[Cut, NDArray[np.int64]]:
    """The vectors of some ids by their places, in this order, and how many each has."""
    lengths = np.array(kept.lengths, dtype=np.int64)
    starts, wanted = np.cumsum(lengths) - lengths, lengths[order]
    rows = np.arange(wanted.sum()) + np.repeat(starts[order] - (np.cumsum(wanted) - wanted), wanted)
    return Cut(kept.rows.array(), rows, width, unit), wanted
