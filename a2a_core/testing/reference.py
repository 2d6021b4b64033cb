"""The smallest right component of some kinds: what a component under test is put beside, and a model to put it in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a2a_core.components import EncoderConfig, FusionConfig, HeadConfig
from a2a_core.options import option
from a2a_core.structures import Item, Row, Sample, Widths

if TYPE_CHECKING:
    from torch import Tensor, nn

WIDTH = 16


class ReferenceProcessor:
    """A list of numbers -> one token a number."""

    deterministic = True

    def __call__(self, raw: Any) -> Item:
        """Numbers, at least one."""
        import torch

        if not isinstance(raw, (list, tuple)) or not raw or not all(isinstance(value, (int, float)) for value in raw):
            raise ValueError(f"expected a list of numbers, got {raw!r}"[:200])
        return Item({"numbers": torch.tensor(raw, dtype=torch.float32)}, len(raw))

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """`numbers` (N, T) and how many of them are real, `lengths` (N,)."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        numbers = pad_sequence([item.tensors["numbers"] for item in items], batch_first=True)
        return {"numbers": numbers, "lengths": torch.tensor([item.length for item in items])}

    def dummy(self) -> Item:
        """One zero."""
        return self([0.0])


class ReferenceEncoder(EncoderConfig):
    """Lists of numbers to tokens, each number by itself."""

    name = "reference"
    modality = "numbers"
    width: int = option("channels of a token", default=WIDTH, gt=0)

    def processor(self) -> ReferenceProcessor:
        """Numbers (T,)."""
        return ReferenceProcessor()

    def build(self) -> nn.Module:
        """(N, T) -> Tokens (N, T, width)."""
        from a2a_core.testing.reference_model import NumbersToTokens

        return NumbersToTokens(self.width)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Three lists of numbers."""
        return [[0.5, -1.0, 2.0], [1.0], [0.1, 0.2, 0.3, 0.4, 0.5]]


class ReferenceFusion(FusionConfig):
    """Everything concatenated in time; the pooled vector is the mean of the real tokens, 0 where there is none."""

    name = "reference"
    width: int = option("channels of a token", default=WIDTH, gt=0)

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """Tokens of `width` channels -> Fused."""
        from a2a_core.testing.reference_model import MeanOfTokens

        return MeanOfTokens(self.width)


class ReferenceTarget:
    """A number, NaN where a row has none."""

    def __init__(self, field: str) -> None:
        self.field = field

    def __call__(self, fields: Mapping[str, Any]) -> float | None:
        """The field as a number."""
        value = fields.get(self.field)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"`{self.field}`: expected a finite number, got {value!r}"[:200])
        return float(value)

    def pad(self, targets: Sequence[Any]) -> dict[str, Tensor]:
        """`value` (B,)."""
        import torch

        return {"value": torch.tensor([math.nan if target is None else target for target in targets])}


class ReferenceHead(HeadConfig):
    """One number a sample from the pooled vector."""

    name = "reference"
    field: str = option("the row's field that holds the number", default="value")

    def processor(self) -> ReferenceTarget:
        """A number."""
        return ReferenceTarget(self.field)

    def build(self, spec: Widths) -> nn.Module:
        """`pooled` (B, C) -> `values` (B,)."""
        from a2a_core.testing.reference_model import NumberOfPooled

        return NumberOfPooled(spec.width or WIDTH)

    def examples(self) -> Sequence[Mapping[str, Any]]:
        """Three numbers."""
        return [{self.field: value} for value in (0.5, -1, 3.25)]


def sample(index: int, items: Mapping[str, Sequence[Item]], targets: Mapping[str, Any] | None = None) -> Sample:
    """A processed row."""
    return Sample(Row({}, f"row-{index}", Path(), f"rows:{index}"), items, targets or {})
