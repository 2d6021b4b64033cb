"""Adapters are applied to the kit's tiny model, on the meta device too."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from a2a_core import A2AError, AdapterConfig, option


class Freeze(AdapterConfig):
    """Freezes the parameters whose name contains a word."""

    name = "freeze"
    match: str = option("part of a parameter's name", default="linear")

    def apply(self, model: nn.Module) -> None:
        found = [parameter for name, parameter in model.named_parameters() if self.match in name]
        if not found:
            raise A2AError(f"adapter `freeze`: no parameter matches `{self.match}`")
        for parameter in found:
            parameter.requires_grad_(False)


class FreezesByValue(Freeze):
    """Freezes what is large."""

    def apply(self, model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.requires_grad_(bool(parameter.abs().max() > 0.1))


class FreezesWhatIsReal(Freeze):
    """Freezes what is not on the meta device."""

    def apply(self, model: nn.Module) -> None:
        for parameter in model.parameters():
            parameter.requires_grad_(parameter.is_meta)


class AddsALayer(Freeze):
    """Adds a small layer to the model."""

    def apply(self, model: nn.Module) -> None:
        model.add_module("low_rank", nn.Linear(2, 2, device=torch.get_default_device()))


class Scaled(nn.Module):
    """A linear layer whose outputs are scaled."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear, self.scale = linear, nn.Parameter(torch.ones(linear.out_features))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(values) * self.scale
        return found


class Scales(AdapterConfig):
    """Scales what the fusion's layer makes."""

    name = "scales"
    adds = True

    def apply(self, model: Any) -> None:
        model.fusion.linear = Scaled(model.fusion.linear)

    def merge(self, model: Any) -> None:
        scaled = model.fusion.linear
        scaled.linear.weight.data *= scaled.scale.data[:, None]
        scaled.linear.bias.data *= scaled.scale.data
        model.fusion.linear = scaled.linear


class ForgetsTheBias(Scales):
    """Scales weights alone when it merges."""

    def merge(self, model: Any) -> None:
        scaled = model.fusion.linear
        scaled.linear.weight.data *= scaled.scale.data[:, None]
        model.fusion.linear = scaled.linear


class LeavesItselfBehind(Scales):
    """Says that it merges, and does nothing."""

    def merge(self, model: Any) -> None:
        model.fusion.linear.scale.data += 0


def test_right_adapters_pass(judge: Any) -> None:
    assert judge(Freeze) == set()
    assert judge(AddsALayer) == set()
    assert judge(Scales) == set()
    assert judge.skips(Freeze(match="no such")) == {"applies_on_meta", "merges_into_the_weights"}
    assert judge.skips(Scales()) == set()


def test_faulty_adapters_are_caught(judge: Any) -> None:
    assert judge(FreezesByValue) == {"applies_on_meta"}
    assert "on the meta device raises" in judge.says(FreezesByValue, "applies_on_meta")
    assert judge(FreezesWhatIsReal) == {"applies_on_meta"}
    assert "are other parameters" in judge.says(FreezesWhatIsReal, "applies_on_meta")
    assert judge(ForgetsTheBias) == {"merges_into_the_weights"}
    assert "changes what the model makes" in judge.says(ForgetsTheBias, "merges_into_the_weights")
    assert judge(LeavesItselfBehind) == {"merges_into_the_weights"}
    assert "are other tensors" in judge.says(LeavesItselfBehind, "merges_into_the_weights")
