"""A right encoder passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs
import pytest
import torch
from torch import Tensor, nn

from a2a_core import EncoderConfig, Tokens, option
from a2a_core.testing.reference import ReferenceEncoder, ReferenceProcessor


class Module(nn.Module):
    """Neighbouring numbers are mixed by a convolution behind a gate that starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Linear(1, width)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.gate = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(0.2)

    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.mix((x * mask[..., None]).transpose(1, 2)).transpose(1, 2)

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        mask = torch.arange(numbers.shape[1], device=numbers.device) < lengths[:, None]
        x = self.dropout(self.stem(numbers[..., None]))
        return Tokens(x + self.gate * self.mixed(x, mask), mask)


class Good(EncoderConfig):
    """Lists of numbers to tokens that know their neighbours."""

    name = "good"
    modality = "numbers"
    module: ClassVar[type[nn.Module]] = Module
    width: int = option("channels of a token", default=8, gt=0)

    def processor(self) -> ReferenceProcessor:
        return ReferenceProcessor()

    def build(self) -> nn.Module:
        return self.module(self.width)

    def examples(self, folder: Path) -> Sequence[Any]:
        return [[0.5, -1.0, 2.0], [1.0], [0.1, 0.2, 0.3, 0.4, 0.5]]


@pytest.mark.parametrize("component", [Good, Good(width=5), ReferenceEncoder, ReferenceEncoder(width=3)], ids=str)
def test_a_right_encoder_passes_every_check(judge: Any, component: Any) -> None:
    assert judge(component) == set()
    assert judge.skips(component) <= {"refills_its_buffers", "segments_are_read"}


class LeaksByConvolution(Module):
    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.mix(x.transpose(1, 2)).transpose(1, 2)


class LeaksByItsMean(Module):
    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().mixed(x - x.mean(1, keepdim=True), mask)


class LeaksByAttention(Module):
    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().mixed(nn.functional.scaled_dot_product_attention(x, x, x), mask)


class AddsUpTheBatch(Module):
    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().mixed(x, mask) + (x * mask[..., None]).sum((0, 1))


class LooksAtTheNextRow(Module):
    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().mixed((x * mask[..., None]).roll(1, 0), mask)


class NormalisesByTheBatch(Module):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.norm = nn.BatchNorm1d(width)

    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.norm(super().mixed(x, mask).transpose(1, 2)).transpose(1, 2)


class EmitsEverySecond(Module):
    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        values, mask = super().forward(numbers, lengths)[:2]
        return Tokens(values[:, ::2], mask[:, ::2])


class HasNaNInPadding(Module):
    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        values, mask = super().forward(numbers, lengths)[:2]
        return Tokens(values.masked_fill(~mask[..., None], float("nan")), mask)


class HasAFloatMask(Module):
    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        tokens = super().forward(numbers, lengths)
        return tokens._replace(mask=tokens.mask.float())


class SaysAnotherWidth(Module):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width + 1


class ReturnsATensor(Module):
    def forward(self, numbers: Tensor, lengths: Tensor) -> Any:
        return super().forward(numbers, lengths).values


class HasNoGradientThroughSilence(Module):
    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().mixed(x, mask) / (self.stem.weight[:, 0] * self.power).norm()

    def forward(self, numbers: Tensor, lengths: Tensor) -> Tokens:
        self.power = numbers.abs().mean().detach().item() if not numbers.is_meta else 1.0
        return super().forward(numbers, lengths)


class SkipsSilence(Module):
    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().mixed(x, mask) if x.is_meta or len(x) > 1 else x


class TrainsThoughFrozen(Module):
    def train(self, mode: bool = True) -> Self:
        self.requires_grad_(True)
        return super().train(mode)


class CountsInTraining(Module):
    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.register_buffer("seen", torch.zeros(1))

    def train(self, mode: bool = True) -> Self:
        return super().train(True)

    def mixed(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.training:
            self.seen += 1
        return super().mixed(x, mask)


ANYTHING = {"..."}


@pytest.mark.parametrize(
    ("module", "check", "says", "besides"),
    [
        (LeaksByConvolution, "padding_is_invisible", "pads it by 2", set()),
        (LeaksByItsMean, "padding_is_invisible", "a normalisation over time", set()),
        (LeaksByAttention, "padding_is_invisible", "attn_mask", set()),
        (
            AddsUpTheBatch,
            "neighbours_are_invisible",
            "(evaluation mode)",
            {"padding_is_invisible", "missing_modality_is_invisible"},
        ),
        (
            LooksAtTheNextRow,
            "neighbours_are_invisible",
            "(evaluation mode)",
            {"padding_is_invisible", "missing_modality_is_invisible"},
        ),
        (NormalisesByTheBatch, "neighbours_are_invisible", "(training mode)", {"missing_modality_is_invisible"}),
        (EmitsEverySecond, "length_is_what_is_emitted", "length is 3, the encoder emits 2 tokens", set()),
        (HasNaNInPadding, "tokens_are_well_formed", "padding counts", set()),
        (HasAFloatMask, "tokens_are_well_formed", "mask must be bool", ANYTHING),
        (
            SaysAnotherWidth,
            "tokens_are_well_formed",
            "9 against 8",
            {"missing_modality_is_invisible", "frozen_stays_unchanged"},
        ),
        (ReturnsATensor, "can_be_tested", "a2a_core.Tokens", ANYTHING),
        (HasNoGradientThroughSilence, "missing_modality_is_invisible", "NaN", ANYTHING),
        (SkipsSilence, "missing_modality_is_invisible", "`mix.weight`, `mix.bias`", {"padding_is_invisible"}),
        (TrainsThoughFrozen, "frozen_stays_unchanged", "`stem.weight`", set()),
        (CountsInTraining, "frozen_stays_unchanged", "`seen`", ANYTHING),
    ],
)
def test_a_faulty_module_is_caught(judge: Any, module: type[Module], check: str, says: str, besides: set[str]) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "module": module})
    assert says in judge.says(faulty, check)
    if besides is not ANYTHING:
        assert {check} <= judge(faulty) <= {check, *besides}


class NeedsItsFile(Good):
    """Reads its width from a file whenever it builds."""

    path: Path | None = option("a file that holds the width", default=None)
    stored: int = option("the width that the file held", default=0)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        (folder / "width").write_text("4")
        return cls(path=folder / "width")

    def build(self) -> nn.Module:
        assert self.path is not None
        return self.module(int(self.path.read_text()))


class ReadsItsFileOnce(NeedsItsFile):
    """Reads its width from a file when it is resolved."""

    def resolved(self) -> Self:
        return self if self.path is None else attrs.evolve(self, path=None, stored=int(self.path.read_text()))

    def build(self) -> nn.Module:
        return self.module(self.resolved().stored)


class ReadsAnother(ReadsItsFileOnce):
    """Makes something else of what it read."""

    def resolved(self) -> Self:
        return self if self.path is None else attrs.evolve(self, path=None, stored=int(self.path.read_text()) + 1)

    def build(self) -> nn.Module:
        return self.module(self.stored or 4)


class ResolvesOnAndOn(Good):
    """Changes whenever it is resolved."""

    def resolved(self) -> Self:
        return attrs.evolve(self, width=self.width + 1)


def test_what_was_resolved_needs_no_files(judge: Any) -> None:
    assert judge(ReadsItsFileOnce) == set()
    assert judge(NeedsItsFile) == {"resolved_is_self_contained"}
    assert "FileNotFoundError" in judge.says(NeedsItsFile, "resolved_is_self_contained")
    assert "other tensors: `gate`" not in judge.says(ReadsAnother, "resolved_is_self_contained")
    assert "other tensors: `mix.bias`" in judge.says(ReadsAnother, "resolved_is_self_contained")
    assert "of what is resolved differs" in judge.says(ResolvesOnAndOn, "resolved_is_self_contained")
