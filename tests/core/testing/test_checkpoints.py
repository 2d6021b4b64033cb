"""Components that a saved model would not bring back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from a2a_core import A2AError, HeadConfig, ProjectorConfig, Tokens, Widths
from a2a_core.testing.reference import ReferenceHead


class Module(nn.Module):
    """One layer, used twice."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, out), nn.Linear(out, out)
        self.finish()

    def finish(self) -> None:
        pass

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens._replace(values=self.second(self.second(self.first(tokens.values)).tanh()))


class Good(ProjectorConfig):
    """Two layers, one of them used twice."""

    name = "good"
    module: ClassVar[type[nn.Module]] = Module

    def build(self, width: int, out: int) -> nn.Module:
        return self.module(width, out)


class TiesByHand(Module):
    def finish(self) -> None:
        self.third = nn.Linear(self.second.in_features, self.second.out_features)
        self.third.weight = self.second.weight

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens._replace(values=self.third(self.second(self.first(tokens.values)).tanh()))


class KeepsABufferUnsaved(Module):
    def finish(self) -> None:
        self.register_buffer("scale", torch.tensor([1.5]), persistent=False)

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens._replace(values=self.second(self.first(tokens.values)) * self.scale)


def test_a_layer_that_is_used_twice_survives(judge: Any) -> None:
    assert judge(Good) == set()


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (TiesByHand, "weights tied by hand"),
        (KeepsABufferUnsaved, "different after saving and loading: `projectors.it.scale`"),
    ],
)
def test_what_is_not_brought_back_is_caught(judge: Any, module: type[Module], says: str) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "module": module})
    assert says in judge.says(faulty, "survives_a_checkpoint")


class NeedsAVocabulary(ReferenceHead):
    """Needs a fusion that owns a vocabulary."""

    def build(self, spec: Widths) -> nn.Module:
        if spec.vocabulary is None:
            raise A2AError("no vocabulary")
        return super().build(spec)


class NeedsAVideo(HeadConfig):
    """Needs a modality that the kit's model does not have."""

    name = "video"

    def build(self, spec: Widths) -> nn.Module:
        return nn.Linear(spec.parts["video"], 2)

    def examples(self) -> list[Mapping[str, Any]]:
        return [{"value": 1}, {"value": 2}]


def test_what_does_not_fit_a_tiny_model_is_left_out(judge: Any) -> None:
    assert "survives_a_checkpoint" in judge.skips(NeedsAVocabulary)
    assert judge(NeedsAVideo) == {"can_be_tested"}
