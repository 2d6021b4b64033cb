"""A model with everything that is divided in its own way: layers, frozen parts, numbers, other data types, statistics."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from a2a_core import HeadConfig, LossConfig
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import Collate, target_processors
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.structures import Batch, Tokens
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, ReferenceHead, sample
from a2a_core.testing.reference_model import NumbersToTokens

WIDTH = 6


class Cast(nn.Linear):
    """In its own precision."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values.to(self.weight.dtype))


class Block(nn.Module):
    def __init__(self, inner: int) -> None:
        super().__init__()
        self.first, self.second = Cast(WIDTH, inner), Cast(inner, WIDTH)

    def forward(self, values: Tensor) -> Tensor:
        return values + self.second(self.first(values).tanh()).to(values.dtype)


class Deep(nn.Module):
    """Three blocks, the second of them wider and half in float64, and statistics of what they give, which nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.width = NumbersToTokens(WIDTH), WIDTH
        self.layers = nn.ModuleList([Block(5), Block(7), Block(5)])
        self.layers[1].second.double()
        self.seen = nn.Buffer(torch.zeros(WIDTH))
        self.kept = nn.Buffer(torch.arange(3.0))

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        tokens: Tokens = self.numbers(numbers, lengths)
        values = tokens.values
        for layer in self.layers:
            values = layer(values)
        if self.training:
            self.seen.lerp_(values.detach().mean((0, 1)), 0.1)
        return Tokens(values, tokens.mask)


class DeepEncoder(ReferenceEncoder):
    """See Deep."""

    name = "deep"

    def build(self) -> nn.Module:
        return Deep()


class Scaled(nn.Module):
    """Squared error times a number, and a bias of shape (1,)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.zeros(1))

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"scaled": torch.tensor(len(targets["value"]))}

    def forward(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"scaled": self.scale * ((outputs["values"] + self.bias - targets["value"]) ** 2).sum()}


class ScaledLoss(LossConfig):
    """See Scaled."""

    name = "scaled"
    terms = ("scaled",)

    def build(self, head: HeadConfig) -> nn.Module:
        return Scaled()


def built() -> A2AModel:
    """The same weights each time; `right` is frozen."""
    torch.manual_seed(3)
    parts = Parts(
        encoders={"left": DeepEncoder(), "right": DeepEncoder(freeze=True)},
        fusion=ReferenceFusion(width=WIDTH),
        heads={"number": ReferenceHead()},
        losses={"fit": ScaledLoss(head="number")},
    )
    return A2AModel.from_parts(parts)


def batch(model: A2AModel, rows: range) -> Batch:
    """Some of all rows; every third lacks `left`."""
    generator, processor = torch.Generator().manual_seed(5), ReferenceEncoder().processor()
    found = []
    for index in range(max(rows) + 1):
        raw = {name: torch.randn(1 + index % 4, generator=generator).tolist() for name in ("left", "right")}
        items = {name: [] if name == "left" and index % 3 == 0 else [processor(each)] for name, each in raw.items()}
        found.append(sample(index, items, {"number": sum(raw["right"])}))
    processors = {key: each.processor() for key, each in model.parts.encoders.items()}
    collate = Collate(PadCollator().build(processors, target_processors(model.parts), {}))
    return collate([found[index] for index in rows])
