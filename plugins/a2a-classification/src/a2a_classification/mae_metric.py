"""Sums of absolute errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


class MeanAbsoluteError:
    """The sum for each number, in standard units and float64, and the samples with a target."""

    def __init__(self, scale: Sequence[float]) -> None:
        self.scale, self.sums, self.seen = tuple(scale), [0.0] * len(scale), 0

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        """`value` (B, size) of both, and which samples have a target."""
        here = targets["here"].cpu()
        difference = outputs["value"].detach().cpu().double() - targets["value"].cpu().double()
        self.merge((difference[here].abs().sum(0).tolist(), int(here.sum())))

    def state(self) -> tuple[list[float], int]:
        """Sums, samples."""
        return self.sums, self.seen

    def merge(self, state: tuple[list[float], int]) -> None:
        """Add another rank's."""
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, state[0], strict=True)]
        self.seen += state[1]

    def compute(self) -> dict[str, Any]:
        """In the target's own units."""
        if not self.seen:
            return {}
        errors = [total * scale / self.seen for total, scale in zip(self.sums, self.scale, strict=True)]
        mean = {"mae": sum(errors) / len(errors)}
        return mean if len(errors) == 1 else {**mean, "per_number": errors}
