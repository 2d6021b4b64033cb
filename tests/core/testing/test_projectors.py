"""A right projector that shortens passes every check; each deliberate fault is caught."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from a2a_core import ProjectorConfig, Tokens
from a2a_core.builtin.linear import LinearProjector


class Module(nn.Module):
    """Two tokens to one: masked, side by side, mapped; a lone last token is kept."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, out)

    def pairs(self, values: Tensor) -> Tensor:
        return nn.functional.pad(values, (0, 0, 0, values.shape[1] % 2)).unflatten(1, (-1, 2)).flatten(2)

    def shorter(self, mask: Tensor) -> Tensor:
        return mask[:, ::2]

    def forward(self, tokens: Tokens) -> Tokens:
        values = tokens.values.masked_fill(~tokens.mask[..., None], 0)
        return tokens._replace(values=self.linear(self.pairs(values)), mask=self.shorter(tokens.mask))


class Good(ProjectorConfig):
    """Two tokens to one, by a linear layer."""

    name = "good"
    module: ClassVar[type[nn.Module]] = Module

    def length(self, tokens: int) -> int:
        return -(-tokens // 2)

    def build(self, width: int, out: int) -> nn.Module:
        return self.module(width, out)


@pytest.mark.parametrize("component", [Good, LinearProjector, LinearProjector(bias=False)], ids=str)
def test_a_right_projector_passes_every_check(judge: Any, component: Any) -> None:
    assert judge(component) == set()


class SaysAnotherLength(Good):
    """Says that it keeps every token."""

    def length(self, tokens: int) -> int:
        return tokens


class KeepsTheMask(Module):
    def shorter(self, mask: Tensor) -> Tensor:
        return mask


class HidesTheLastToken(Module):
    def shorter(self, mask: Tensor) -> Tensor:
        return mask[:, ::2] & mask[:, ::2].roll(-1, 1)


class HasAFloatMask(Module):
    def shorter(self, mask: Tensor) -> Tensor:
        return mask[:, ::2].float()


class LosesItsPlace(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        return Tokens(*super().forward(tokens)[:2])


class LeaksByItsMean(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        return super().forward(tokens._replace(values=tokens.values - tokens.values.mean(1, keepdim=True)))


class NormalisesByTheBatch(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.norm = nn.BatchNorm1d(out)

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = super().forward(tokens)
        return tokens._replace(values=self.norm(tokens.values.transpose(1, 2)).transpose(1, 2))


class MakesNaN(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        tokens = super().forward(tokens)
        return tokens._replace(values=tokens.values.masked_fill(~tokens.mask[..., None], torch.nan))


@pytest.mark.parametrize(
    ("module", "check", "says", "besides"),
    [
        (KeepsTheMask, "length_is_what_is_emitted", "length(16) is 8, but it emits 16 tokens", None),
        (HidesTheLastToken, "length_is_what_is_emitted", "length(16) is 8, but it emits", {"padding_is_invisible"}),
        (HasAFloatMask, "tokens_are_well_formed", "mask must be bool", None),
        (LosesItsPlace, "tokens_are_well_formed", "row, slot or slots", {"runs_on_meta"}),
        (
            LeaksByItsMean,
            "padding_is_invisible",
            "an item of 16 tokens changes beside 20 positions",
            {"neighbours_are_invisible"},
        ),
        (NormalisesByTheBatch, "neighbours_are_invisible", "(training mode)", set()),
        (MakesNaN, "tokens_are_well_formed", "padding counts", {"works_under_autocast"}),
    ],
)
def test_a_faulty_projector_is_caught(
    judge: Any, module: type[Module], check: str, says: str, besides: set[str] | None
) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "module": module})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}


def test_length_must_be_what_is_emitted(judge: Any) -> None:
    assert "length(16) is 16, but it emits 8 tokens" in judge.says(SaysAnotherLength, "length_is_what_is_emitted")
