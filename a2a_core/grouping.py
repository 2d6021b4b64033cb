"""Rows that share a place in a batch, for collators that pack or bucket by length: each row's tokens are counted once.

A run keeps the counts in its folder, so that one that goes on does not read its rows to count them again. The groups are a
function of counts and seed: the same after resuming, on any rank, in any epoch; only their order changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset

from a2a_core import ranks
from a2a_core.data import BadRow, Collate, Prepared, leave_interrupts
from a2a_core.errors import A2AError
from a2a_core.runs import explained

if TYPE_CHECKING:
    from a2a_core.reporter import Reporter


class Groups(NamedTuple):
    """A split's groups of rows, by index."""

    groups: list[list[int]]
    bad: list[BadRow]
    """Rows that this rank could not read, or left out."""
    keep: Callable[[], None]
    """Keeps the counts, once the bad rows are judged: for ranks to call together."""


class Counted(Dataset[tuple[int, BadRow | None]]):
    """Each row's tokens, 0 for a bad one."""

    def __init__(self, data: Prepared, rows: range) -> None:
        self.data, self.rows = data, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> tuple[int, BadRow | None]:
        sample = self.data[self.rows[place]]
        if isinstance(sample, BadRow):
            return 0, sample
        return (sample.text.length if sample.text is not None else 0), None


def group(
    split: str,
    data: Prepared,
    collate: Collate,
    *,
    shuffle: bool,
    seed: int,
    folder: Path,
    workers: int,
    reporter: Reporter,
) -> Groups | None:
    """A split's groups; None where the collator makes none. Every rank calls it: they share the counting."""
    if collate.group is None:
        return None
    file = folder / f"lengths-{split}.safetensors"
    known = ranks.first(read(file, len(data)))
    bad: list[BadRow] = []
    if known is None:
        known, bad = count(split, data, workers, reporter)
    order = list(range(len(known)))
    if shuffle:
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed)).tolist()
    groups = [[order[place] for place in each] for each in collate.group([known[row] for row in order])]
    if not groups:
        every = (each for part in ranks.gathered(bad) for each in part)
        why = next((f"{each.row.place} (id {each.row.id}): {each.reason}" for each in every), "each is too long for a place")
        raise A2AError(f"no row of `{split}` can be used; {why}")
    return Groups(groups, bad, partial(ranks.agreed, partial(write, file, known)))


def read(file: Path, rows: int) -> list[int] | None:
    """Counts of an earlier start of this run; None where there are none for these rows."""
    try:
        found: list[int] = load_file(file)["lengths"].tolist()
    except (OSError, KeyError, SafetensorError):
        return None
    return found if len(found) == rows else None


def write(file: Path, lengths: Sequence[int]) -> None:
    """By the first rank."""
    if ranks.rank() == 0:
        with explained(file.parent):
            save_file({"lengths": torch.tensor(lengths, dtype=torch.int64)}, file)


def count(split: str, data: Prepared, workers: int, reporter: Reporter) -> tuple[list[int], list[BadRow]]:
    """Every row's tokens, counted by all ranks; this rank's bad rows."""
    rank, several = ranks.rank(), ranks.ranks()

    def mine() -> tuple[list[int], list[BadRow]]:
        found, bad = [], []
        for number, (length, wrong) in enumerate(counted(data, range(rank, len(data), several), workers), 1):
            found.append(length)
            bad += [] if wrong is None else [wrong]
            reporter.prepare(f"rows of `{split}` measured", min(number * several, len(data)), len(data))
        return found, bad

    own, bad = ranks.agreed(mine)
    lengths = [0] * len(data)
    for place, part in enumerate(ranks.gathered(own)):
        lengths[place::several] = part
    return lengths, bad


def counted(data: Prepared, rows: range, workers: int) -> Iterator[tuple[int, BadRow | None]]:
    """By worker processes where there are some."""
    yield from DataLoader(
        Counted(data, rows),
        batch_size=None,
        num_workers=workers,
        worker_init_fn=leave_interrupts,
        generator=torch.Generator().manual_seed(0),
    )
