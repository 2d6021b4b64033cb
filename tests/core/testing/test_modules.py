"""What holds for every module, tried on projectors: a right one, and one with each fault."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from a2a_core import ProjectorConfig, Tokens


class Module(nn.Module):
    """A linear layer, and behind a gate that starts at 0 another one, scaled by a table that is not saved."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.linear, self.more = nn.Linear(width, out), nn.Linear(width, out)
        self.gate = nn.Parameter(torch.zeros(1))
        self.register_buffer("table", torch.empty(out), persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        self.table.copy_(torch.linspace(1, 2, len(self.table)))

    def forward(self, tokens: Tokens) -> Tokens:
        more = self.more(tokens.values) * self.table
        return tokens._replace(values=self.linear(tokens.values) + self.gate * more)


class Good(ProjectorConfig):
    """Two linear layers and a gate."""

    name = "good"
    module: ClassVar[type[nn.Module]] = Module

    def build(self, width: int, out: int) -> nn.Module:
        return self.module(width, out)


def test_a_right_module_passes_every_check(judge: Any) -> None:
    assert judge(Good) == set()
    assert judge.skips(Good) == set()


class BuildsOnTheCpu(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.register_buffer("shift", torch.zeros(out, device="cpu"))


class ReadsWhileBuilding(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.limit = self.linear.weight.abs().max().item()


class Branches(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        return super().forward(tokens) if tokens.mask.any() else tokens


class OtherShapeOnMeta(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        tokens = super().forward(tokens)
        return tokens._replace(values=tokens.values[..., :1]) if tokens.values.is_meta else tokens


class HasItsOwnGenerator(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        generator = torch.Generator()
        generator.seed()
        nn.init.normal_(self.linear.weight, generator=generator)


class LeavesMemoryAsItIs(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.bias = nn.Parameter(torch.empty(out))

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = super().forward(tokens)
        return tokens._replace(values=tokens.values + self.bias)


class HasAScalar(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.gate = nn.Parameter(torch.tensor(0.0))


class KeepsAPlainTensor(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.hidden = {"scale": torch.ones(out)}


class CachesWhatItSaw(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        self._last = tokens.mask
        return super().forward(tokens)


class HasAnUnusedLayer(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.last = nn.Linear(out, out)


class Detaches(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        more = self.more(tokens.values).detach() * self.table
        return tokens._replace(values=self.linear(tokens.values) + self.gate * more)


class TrainsOnPaddingOnly(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        made = super().forward(tokens).values
        padding = self.more(torch.ones_like(tokens.values))
        more = self.gate * self.table * padding
        return tokens._replace(values=torch.where(tokens.mask[..., None], self.linear(tokens.values) + self.gate, made + more))


class HasInfiniteGradients(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        tokens = super().forward(tokens)
        nothing = (tokens.values - tokens.values).mean(-1, keepdim=True)
        return tokens._replace(values=tokens.values + nothing.sqrt())


class KeepsAValueOutsideTheState(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.scale = 2.0 if self.linear.weight.is_meta else 1.0

    def forward(self, tokens: Tokens) -> Tokens:
        return super().forward(tokens._replace(values=tokens.values * self.scale))


class RegistersOnUse(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.zeros(1, device=tokens.values.device))
        return super().forward(tokens)


class ForgetsItsBuffer(Module):
    reset_buffers = None  # type: ignore[assignment]

    def __init__(self, width: int, out: int) -> None:
        nn.Module.__init__(self)
        self.linear, self.more = nn.Linear(width, out), nn.Linear(width, out)
        self.gate = nn.Parameter(torch.zeros(1))
        self.register_buffer("table", torch.linspace(1, 2, out), persistent=False)


class RefillsWithSomethingElse(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.table.mul_(2)


class OverflowsInBfloat16(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        made = super().forward(tokens).values
        nearly_one = torch.sigmoid(8 + 0 * self.linear(tokens.values))
        return tokens._replace(values=made + 0 * torch.log(1 - nearly_one))


class MixesDtypes(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        made = super().forward(tokens).values
        kept = torch.zeros(made.shape)
        kept[tokens.mask] = self.linear(tokens.values)[tokens.mask]
        return tokens._replace(values=made + 0 * kept.to(made))


class ChangesItsInput(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        tokens.values.mul_(0.5)
        return super().forward(tokens)


class CountsItsCalls(Module):
    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, tokens: Tokens) -> Tokens:
        self.calls.add_(1)
        return super().forward(tokens)


class DropsAlways(Module):
    def forward(self, tokens: Tokens) -> Tokens:
        return super().forward(tokens._replace(values=nn.functional.dropout(tokens.values, 0.3)))


@pytest.mark.parametrize(
    ("module", "check", "says", "besides"),
    [
        (BuildsOnTheCpu, "builds_on_meta", "lying elsewhere: `shift`", set()),
        (
            ReadsWhileBuilding,
            "builds_on_meta",
            "in __init__: self.limit",
            {"runs_on_meta", "saved_is_what_is_loaded", "refills_its_buffers", "survives_a_checkpoint"},
        ),
        (Branches, "runs_on_meta", "in forward: return super", set()),
        (OtherShapeOnMeta, "runs_on_meta", "(4, 36, 1)", set()),
        (HasItsOwnGenerator, "same_seed_same_weights", "`linear.weight`", {"saved_is_what_is_loaded"}),
        (LeavesMemoryAsItIs, "initialises_itself", "`bias`", None),
        (HasAScalar, "has_no_scalar_parameters", "`gate`", set()),
        (KeepsAPlainTensor, "keeps_tensors_registered", "`hidden`", set()),
        (CachesWhatItSaw, "keeps_tensors_registered", "`_last`", set()),
        (HasAnUnusedLayer, "gradient_reaches_every_parameter", "`last.weight`, `last.bias`", set()),
        (Detaches, "gradient_reaches_every_parameter", "`more.weight`, `more.bias`", set()),
        (TrainsOnPaddingOnly, "gradient_reaches_every_parameter", "`more.weight`, `more.bias`", set()),
        (HasInfiniteGradients, "gradient_reaches_every_parameter", "NaN or infinite", {"works_under_autocast"}),
        (KeepsAValueOutsideTheState, "saved_is_what_is_loaded", "`values` differs", set()),
        (RegistersOnUse, "saved_is_what_is_loaded", "late", {"is_deterministic_in_evaluation"}),
        (
            ForgetsItsBuffer,
            "refills_its_buffers",
            "`table`",
            {"saved_is_what_is_loaded", "survives_a_checkpoint", "builds_on_meta", "runs_on_meta"},
        ),
        (RefillsWithSomethingElse, "refills_its_buffers", "`table`", {"saved_is_what_is_loaded"}),
        (OverflowsInBfloat16, "works_under_autocast", "`values`", set()),
        (MixesDtypes, "works_under_autocast", "kept[tokens.mask]", {"runs_on_meta"}),
        (ChangesItsInput, "is_deterministic_in_evaluation", "its input `0.values`", set()),
        (CountsItsCalls, "is_deterministic_in_evaluation", "`calls`", set()),
        (DropsAlways, "is_deterministic_in_evaluation", "largest difference", {"padding_is_invisible"}),
    ],
)
def test_a_faulty_module_is_caught(judge: Any, module: type[Module], check: str, says: str, besides: set[str] | None) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "module": module})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}
