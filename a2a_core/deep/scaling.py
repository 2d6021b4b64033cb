"""Other batch sizes than those that were traced, reckoned from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import attrs
import torch

from a2a_core.deep.ledger import Peaks
from a2a_core.deep.tracing import Trace

DEGREE = 2
"""Of the curve: losses that compare all rows of a batch with one another grow with its square."""
CLOSE = 1e-3
"""What is rounded up, images of every other row, makes a reckoning this wrong."""


class Traces:
    """Traces by rows.

    The peak is no polynomial in rows: it is the largest of many moments', and which of them is largest changes. But what lives
    at each single moment is one, of one degree or two, and so two or three traces say what all the others would be, as long
    as the same operations run. `right` compares a reckoning with a trace.
    """

    def __init__(self, run: Callable[[int], Trace]) -> None:
        self._run = run
        self._known: dict[int, Trace] = {}

    def __call__(self, rows: int) -> Trace:
        """Traced, once."""
        if rows not in self._known:
            self._known[rows] = self._run(rows)
        return self._known[rows]

    def known(self) -> list[int]:
        """Sizes that were traced."""
        return sorted(self._known)

    def reckoned(self, rows: int) -> Trace:
        """The real one where it is known; else one whose bytes alone are right, not its shapes and its arithmetic."""
        return self._known.get(rows) or self._through(self._basis(rows), rows)

    def right(self, rows: int) -> bool:
        """The reckoning holds there; afterwards that size is known."""
        if rows in self._known:
            return True
        reckoned, real = self.reckoned(rows), self(rows)
        pairs = ((reckoned.inputs, real.inputs), *zip(reckoned.peaks, real.peaks, strict=True))
        return all(abs(ours - theirs) <= CLOSE * theirs for ours, theirs in pairs)

    def _basis(self, rows: int) -> list[Trace]:
        """The nearest of those traces that went through the same moments as one another."""
        while True:
            alike: dict[int, list[Trace]] = defaultdict(list)
            for each in self._known.values():
                alike[len(each.moments)].append(each)
            best = max(alike.values(), key=lambda same: (len(same), max(each.rows for each in same)), default=[])
            if len(best) > 1:
                return sorted(best, key=lambda each: abs(each.rows - rows))[: DEGREE + 1]
            self(2 * max(self._known, default=1))  # with one row, some operations do less than with two

    def _through(self, basis: list[Trace], rows: int) -> Trace:
        """Lagrange's polynomial, moment by moment."""
        shares = []
        for each in basis:
            share = 1.0
            for other in basis:
                if other is not each:
                    share *= (rows - other.rows) / (each.rows - other.rows)
            shares.append(share)
        moments = torch.stack([share * each.moments for share, each in zip(shares, basis, strict=True)]).sum(0)
        inputs = sum(share * each.inputs for share, each in zip(shares, basis, strict=True))
        return attrs.evolve(basis[0], rows=rows, inputs=max(0, round(inputs)), moments=moments, peaks=Peaks.of(moments))
