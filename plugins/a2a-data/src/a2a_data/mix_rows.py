"""Rows of several sources in one fixed, evenly alternating order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from a2a_core.errors import A2AError
from a2a_core.structures import Row

if TYPE_CHECKING:
    from a2a_core.components import Rows

MOST_PASSES = 1000
"""A source that would be read more often in one epoch is a mistake in the weights."""


class MixRows:
    """Row i comes from source `_which[i]`, its row `_index[i]` (10 bytes a row; made again where it is unpickled)."""

    def __init__(self, sources: Mapping[str, Rows], weights: Mapping[str, float], stop: str, seed: int) -> None:
        self._sources, self._names = list(sources.values()), list(sources)
        self._seed = seed
        lengths = {name: len(source) for name, source in sources.items()}
        self._quotas = list(quotas(lengths, weights, stop).values())
        self._order()

    def _order(self) -> None:
        lengths = [len(source) for source in self._sources]
        self._which, self._index = alternating(lengths, self._quotas, self._seed)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_which", "_index")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._order()

    def __len__(self) -> int:
        return len(self._which)

    def __getitem__(self, index: int, /) -> Row:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        which = self._which[index]
        row: Row = self._sources[which][int(self._index[index])]
        name = self._names[which]
        return row._replace(id=f"{name}/{row.id}", place=f"{name}: {row.place}")

    @property
    def notes(self) -> list[str]:
        """Those of the sources."""
        pairs = zip(self._names, self._sources, strict=True)
        return [f"`{name}`: {note}" for name, source in pairs for note in getattr(source, "notes", ())]

    def column(self, field: str) -> Iterator[Any]:
        """One field of every row, None where absent; KeyError when no source has it. Holds one value at a time."""
        columns: list[Column | None] = []
        reasons = []
        for name, source in zip(self._names, self._sources, strict=True):
            try:
                columns.append(Column(source, field))
            except KeyError as error:
                columns.append(None)
                reasons.append(f"`{name}`: {error.args[0]}")
        if len(reasons) == len(columns):
            raise KeyError("; ".join(reasons))
        pairs = zip(self._which, self._index, strict=True)
        return (None if (values := columns[which]) is None else values.at(int(index)) for which, index in pairs)


class Column:
    """A field of a source's rows, read in order; what lies before the last one that was read is read again from the start.

    So a pass of a mix over a source is one reading of it, whatever the mix leaves out. KeyError when no row has the field.
    """

    def __init__(self, rows: Rows, field: str) -> None:
        self._rows, self._field = rows, field
        self._begin()

    def _begin(self) -> None:
        self._values, self._next = iter(self._rows.column(self._field)), 0

    def at(self, index: int) -> Any:
        """The value of a row."""
        if index < self._next:
            self._begin()
        value = next(islice(self._values, index - self._next, None))
        self._next = index + 1
        return value


def tempered(rows: Mapping[str, Rows], temperature: float | None) -> dict[str, float]:
    """Weights that follow the lengths less the higher the temperature is; none without one."""
    return {} if temperature is None else {name: len(each) ** (1 / temperature) for name, each in rows.items()}


def quotas(lengths: Mapping[str, int], weights: Mapping[str, float], stop: str) -> dict[str, int]:
    """Rows of each source in an epoch."""
    if not weights:
        return dict(lengths)
    shares = {name: Fraction(weights[name]) for name in lengths}
    scale = (max if stop == "all" else min)(length / shares[name] for name, length in lengths.items())
    found = {name: round(scale * share) for name, share in shares.items()}
    for name, quota in found.items():
        if not quota:
            raise A2AError(
                f"the source `{name}` of the mix would have no row at these weights", hint='raise its weight, or stop = "all"'
            )
        if quota > MOST_PASSES * lengths[name]:
            passes = quota // lengths[name]
            raise A2AError(
                f"the source `{name}` of the mix ({lengths[name]} rows) would be read {passes} times in an epoch",
                hint='lower its weight, or stop = "first"',
            )
    return found


def alternating(lengths: list[int], quotas: list[int], seed: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Source and row of every row of the mix: source k's j-th row stands at (j + 1/2) / quota of the way."""
    which = np.repeat(np.arange(len(quotas), dtype=np.int16), quotas)
    index = np.concatenate(
        [passes(length, quota, [seed, k]) for k, (length, quota) in enumerate(zip(lengths, quotas, strict=True))]
    )
    places = np.concatenate([(np.arange(quota) + 0.5) / quota for quota in quotas])
    order = np.argsort(places, kind="stable")
    return which[order], index[order]


def passes(length: int, quota: int, seed: list[int]) -> NDArray[np.int64]:
    """`quota` rows of a source: complete passes in its order, then a drawn part of one, in order too."""
    whole, rest = divmod(quota, length)
    drawn = np.sort(np.random.default_rng(seed).choice(length, rest, replace=False))
    return np.concatenate([np.tile(np.arange(length), whole), drawn])
