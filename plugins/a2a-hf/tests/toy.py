"""A plugin with the smallest parts that can be trained: numbers in, one number out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core import HeadConfig, LossConfig, MetricConfig, Row, SourceConfig, hookimpl, option


class ToyRows:
    def __init__(self, count: int, unlabelled: int, spoiled: tuple[int, ...], absent: int) -> None:
        generator = torch.Generator().manual_seed(7)
        self.rows = []
        for index in range(count):
            length = int(torch.randint(1, 6, (), generator=generator))
            left, right = (torch.randn(length, generator=generator).tolist() for _ in range(2))
            fields: dict[str, Any] = {"left": left, "right": right, "value": sum(left) / length - sum(right)}
            if unlabelled and index % unlabelled == 0:
                fields["value"] = None
            if absent and index % absent == 0:
                fields["right"] = None
            if index in spoiled:
                fields["left"] = "not numbers"
            self.rows.append(Row(fields, str(index), Path(), f"toy:{index}"))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Row:
        return self.rows[index]

    def column(self, field: str) -> Iterable[Any]:
        return [row.fields.get(field) for row in self.rows]


class ToySource(SourceConfig):
    """Random lists of numbers and a number that follows from them."""

    name = "toy"
    count: int = option("rows", default=20)
    unlabelled: int = option("every so many-th row has no label (0: none)", default=0)
    absent: int = option("every so many-th row lacks `right` (0: none)", default=0)
    spoiled: tuple[int, ...] = option("rows that cannot be read", default=())

    def build(self) -> ToyRows:
        return ToyRows(self.count, self.unlabelled, self.spoiled, self.absent)


class Squared(nn.Module):
    def __init__(self, poison: float) -> None:
        super().__init__()
        self.poison = poison

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"squared": targets["value"].isfinite().sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        here = targets["value"].isfinite()
        wanted = torch.where(here, targets["value"], outputs["values"].detach())
        total = ((outputs["values"] - wanted) ** 2 * here).sum()
        if self.poison and bool((targets["value"] > self.poison).any()):
            total = total * torch.nan
        return {"squared": total}


class ToyLoss(LossConfig):
    """Squared error."""

    name = "squared"
    terms = ("squared",)
    poison: float = option("a label above it makes the loss NaN (0: never)", default=0.0)

    def build(self, head: HeadConfig) -> nn.Module:
        return Squared(self.poison)


class WindowLoss(ToyLoss):
    """Says that it needs the whole window."""

    name = "window"
    scope = "window"


class Mean:
    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def update(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
        here = targets["value"].isfinite()
        self.total += float((outputs["values"] - targets["value"])[here].abs().sum())
        self.count += int(here.sum())

    def state(self) -> Any:
        return self.total, self.count

    def merge(self, state: Any) -> None:
        self.total, self.count = self.total + state[0], self.count + state[1]

    def compute(self) -> Mapping[str, Any]:
        return {"error": self.total / max(1, self.count)}


class ToyMetric(MetricConfig):
    """Mean absolute error."""

    name = "error"
    higher_is_better = False

    def build(self, head: HeadConfig) -> Mean:
        return Mean()


@hookimpl
def a2a_sources() -> dict[str, str]:
    return {"toy": "toy:ToySource"}


@hookimpl
def a2a_encoders() -> dict[str, str]:
    return {"reference": "a2a_core.testing.reference:ReferenceEncoder"}


@hookimpl
def a2a_fusions() -> dict[str, str]:
    return {"reference": "a2a_core.testing.reference:ReferenceFusion"}


@hookimpl
def a2a_heads() -> dict[str, str]:
    return {"reference": "a2a_core.testing.reference:ReferenceHead"}


@hookimpl
def a2a_losses() -> dict[str, str]:
    return {"squared": "toy:ToyLoss", "window": "toy:WindowLoss"}


@hookimpl
def a2a_metrics() -> dict[str, str]:
    return {"error": "toy:ToyMetric"}


def values(parameters: Sequence[Tensor]) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in parameters])
