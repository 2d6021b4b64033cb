"""Numbers as targets, and their mean and spread in the training rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 3.4e38
"""What float32 holds."""


class ValueProcessor:
    """A number, or `size` of them, less the mean and divided by the standard deviation."""

    def __init__(self, field: str, mean: Sequence[float], std: Sequence[float]) -> None:
        self.field, self.mean, self.std = field, tuple(mean), tuple(std)

    def __call__(self, fields: Mapping[str, Any]) -> list[float] | None:
        """None without a target; ValueError for what is no finite number, or not so many."""
        target = fields.get(self.field)
        if target is None:
            return None
        given = values(self.field, target, len(self.mean))
        scaled = [(value - mean) / std for value, mean, std in zip(given, self.mean, self.std, strict=True)]
        if any(abs(value) > LARGEST for value in scaled):
            raise ValueError(f"field `{self.field}`: {target} is too large for 32 bits")
        return scaled

    def pad(self, targets: Sequence[list[float] | None]) -> dict[str, Tensor]:
        """`value` (B, size), 0 where there is none, and `here` (B,) bool."""
        import torch

        nothing = [0.0] * len(self.mean)
        value = torch.tensor([nothing if target is None else target for target in targets], dtype=torch.float32)
        return {"value": value, "here": torch.tensor([target is not None for target in targets])}


def values(field: str, target: Any, size: int) -> list[float]:
    """A target's numbers; ValueError unless there are `size`, each finite."""
    given = target if isinstance(target, (list, tuple)) else [target]
    if len(given) != size:
        raise ValueError(f"field `{field}`: a target has `size = {size}` numbers, this has {len(given)}")
    return [number(field, value) for value in given]


def number(field: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"field `{field}`: a target is a number, this is {type(value).__name__} {str(value)[:80]}")
    if abs(value) > LARGEST or not math.isfinite(value):
        raise ValueError(f"field `{field}`: a target is a finite number of 32 bits, this is {str(value)[:80]}")
    return float(value)


def moments(field: str, size: int, targets: Iterable[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each number over a column of targets (Welford's way); 1 for what never varies.

    Targets that are wrong are left for the rows' own error.
    """
    count, mean, spread = 0, [0.0] * size, [0.0] * size
    wrong = ""
    for target in targets:
        if target is None:
            continue
        try:
            given = values(field, target, size)
        except ValueError as error:
            wrong = wrong or str(error)
            continue
        count += 1
        for place, value in enumerate(given):
            above = value - mean[place]
            mean[place] += above / count
            spread[place] += above * (value - mean[place])
    if not count:
        raise ValueError(wrong or f"field `{field}`: no training row has a target")
    return tuple(mean), tuple(math.sqrt(each / count) or 1.0 for each in spread)
