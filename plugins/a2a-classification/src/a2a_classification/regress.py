"""The head `regress`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import attrs

from a2a_classification.values import ValueProcessor, moments
from a2a_core.components import Column, HeadConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_core.structures import Widths

if TYPE_CHECKING:
    from torch import nn


class RegressHead(HeadConfig):
    """One number a sample, or `size` of them, from the fusion's pooled vector: `value` (B, size).

    The module works in standard units: targets less the mean, divided by the standard deviation of the training rows, both kept
    in the saved model. Predictions and the metric `mae` are in the target's own units. A row without a target trains nothing
    here. The targets are `value` (B, size) in standard units and `here` (B,), false without a target.
    """

    name = "regress"
    field: str = option("the row's field that holds the number, or a list of `size` numbers", default="value")
    size: int = option("numbers a sample", default=1, ge=1)
    normalise: bool = option("work in standard units of the training rows; false: in the target's own", default=True)
    mean: tuple[float, ...] = option("of each number; none: learned from the training rows", default=())
    std: tuple[float, ...] = option("standard deviation of each number; none: learned", default=(), gt=0)
    hidden_size: int = option("channels of a hidden layer before the numbers; 0: none", default=0, ge=0)
    dropout: float = option("share of channels dropped before each layer, in training", default=0.0, ge=0, lt=1)

    def check(self) -> None:
        """Mean and deviation both or neither, of the right size, finite."""
        given = len(self.mean), len(self.std)
        if given not in ((0, 0), (self.size, self.size)):
            raise ValueError(
                f"`mean` and `std` must have `size = {self.size}` numbers each, or none; they have {given[0]} and {given[1]}"
            )
        if self.mean and not self.normalise:
            raise ValueError("`mean` and `std` are of use with `normalise = true` only")
        if not all(map(math.isfinite, self.mean + self.std)):
            raise ValueError("`mean` and `std` must be finite")

    @property
    def offset(self) -> tuple[float, ...]:
        """What an output of 0 stands for."""
        return self.mean or (0.0,) * self.size

    @property
    def scale(self) -> tuple[float, ...]:
        """What a step of 1 in an output stands for."""
        return self.std or (1.0,) * self.size

    def resolved(self, column: Column) -> Self:
        """With mean and standard deviation of the training rows."""
        if self.mean or not self.normalise:
            return self
        mean, std = moments(self.field, self.size, column(self.field))
        copy: Self = attrs.evolve(cast("Any", self), mean=mean, std=std)
        return copy

    def processor(self) -> ValueProcessor:
        """Numbers in standard units."""
        return ValueProcessor(self.field, self.offset, self.scale)

    def describe(self, target: Sequence[float]) -> str:
        """The numbers as the row has them."""
        return ", ".join(f"{value * s + m:g}" for value, m, s in zip(target, self.offset, self.scale, strict=True))

    def build(self, spec: Widths) -> nn.Module:
        """`pooled` (B, C) -> `value` (B, size)."""
        from a2a_classification.regress_model import Regressor

        if spec.width is None:
            raise A2AError("the head `regress` reads the fusion's pooled vector, and this fusion makes none")
        return Regressor(spec.width, self.offset, self.scale, self.hidden_size, self.dropout)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two numbers, and a hidden layer."""
        return cls(size=2, hidden_size=8)

    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Three rows."""
        return [{self.field: [row + 0.5 * place for place in range(self.size)]} for row in (1, -2, 10)]
