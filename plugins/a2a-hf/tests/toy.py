"""A plugin with the smallest parts that can be trained: numbers in, one number out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core import HeadConfig, LossConfig, MetricConfig, Row, SourceConfig, hookimpl, option
from a2a_core.gathering import all_rows
from a2a_core.streams import At, ShardLane
from a2a_core.structures import Tokens
from a2a_core.testing.reference import ReferenceEncoder
from a2a_core.testing.reference_model import NumbersToTokens


class ToyRows:
    def __init__(self, count: int, unlabelled: int, spoiled: tuple[int, ...], absent: int, twins: int = 0) -> None:
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
            if index < twins:
                fields["left"] = [1.0]
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
    twins: int = option("so many first rows have the same `left`", default=0)

    def build(self) -> ToyRows:
        return ToyRows(self.count, self.unlabelled, self.spoiled, self.absent, self.twins)


class ToyShards:
    """The toy rows, dealt out to shards one by one; those in `broken` end with their second row."""

    def __init__(self, rows: Sequence[Row], shards: int, broken: tuple[int, ...]) -> None:
        self.each, self.broken = [rows[shard::shards] for shard in range(shards)], broken

    def __len__(self) -> int:
        return len(self.each)

    def place(self, shard: int) -> str:
        return f"shard-{shard}"

    def rows(self, shard: int, start: At | None, wanted: Callable[[int], bool]) -> Iterator[tuple[At, Row]]:
        for number, row in enumerate(self.each[shard]):
            if shard in self.broken and number == 1:
                raise OSError("half a body")
            if number >= (0 if start is None else start.number) and wanted(number):
                yield At(number), row


class ToyStream:
    notes = ("it flows",)

    def __init__(self, shards: ToyShards) -> None:
        self.shards = shards

    def lanes(self, wanted: int) -> int:
        return wanted

    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> ShardLane:
        return ShardLane(self.shards, lane, lanes, seed, epoch, state, buffer=3)

    def first(self, several: int) -> list[Row]:
        return [row for shard in self.shards.each for row in shard][:several]


class ToyStreamSource(ToySource):
    """The same rows, as a stream."""

    name = "toy-stream"
    streams = True
    shards: int = option("shards that the rows come from", default=5)
    broken: tuple[int, ...] = option("shards that end with their second row", default=())

    def build(self) -> ToyStream:
        return ToyStream(ToyShards(super().build().rows, self.shards, self.broken))


class Dropped(nn.Module):
    """Numbers to tokens, a third of whose channels are dropped."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.numbers, self.dropout, self.width = NumbersToTokens(width), nn.Dropout(1 / 3), width

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        values, mask, *_ = self.numbers(numbers, lengths)
        return Tokens(self.dropout(values), mask)


class DroppedEncoder(ReferenceEncoder):
    """With dropout."""

    name = "dropped"

    def build(self) -> nn.Module:
        return Dropped(self.width)


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


class Told(nn.Module):
    """Which label is a row's, among those of all rows, by its number; and which number is a label's."""

    def __init__(self) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.zeros(1))

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        assert inputs["size"] == len(targets["value"])
        return {"told": targets["value"].isfinite().sum()}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        here = targets["value"].isfinite()
        numbers = outputs["values"]
        labels = torch.where(here, targets["value"], 0).to(numbers.dtype)
        (all_numbers, all_labels, there), start = all_rows(numbers, labels, here)
        own = start + torch.arange(len(numbers))
        total = numbers.new_zeros(())
        for one, other in ((numbers, all_labels), (labels, all_numbers)):
            logits = -self.sharpness.exp() * (one[:, None] - other) ** 2
            logits = logits.masked_fill(~there, torch.finfo(logits.dtype).min)
            total = total + nn.functional.cross_entropy(logits, own, reduction="none").masked_fill(~here, 0).sum()
        return {"told": total}


class WindowLoss(LossConfig):
    """Compares all rows of a step."""

    name = "window"
    scope = "window"
    terms = ("told",)

    def build(self, head: HeadConfig) -> nn.Module:
        return Told()

    def least(self) -> int:
        return 2

    def distinct(self, head: HeadConfig) -> str:
        return "left"


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
    return {"toy": "toy:ToySource", "toy-stream": "toy:ToyStreamSource"}


@hookimpl
def a2a_encoders() -> dict[str, str]:
    return {"reference": "a2a_core.testing.reference:ReferenceEncoder", "dropped": "toy:DroppedEncoder"}


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
