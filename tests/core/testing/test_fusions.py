"""A right fusion passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from a2a_core import A2AError, Fused, FusionConfig, Medium, Tokens, option
from a2a_core.testing.reference import ReferenceFusion, ReferenceProcessor


class Module(nn.Module):
    """Each modality mapped by a layer of its own; a learned token asks them all."""

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.input_width, self.width = None, width
        self.layers = nn.ModuleDict({key: nn.Linear(own, width) for key, own in widths.items()})
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.dropout = nn.Dropout(0.1)

    def mapped(self, encoded: Mapping[str, Tokens], size: int) -> dict[str, Tokens]:
        sampled = {key: tokens.by_sample(size) for key, tokens in encoded.items()}
        return {key: tokens._replace(values=self.layers[key](tokens.values)) for key, tokens in sampled.items()}

    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        question = self.token.expand(len(values), -1, -1).to(values)
        values, mask = torch.cat([question, values], 1), nn.functional.pad(mask, (1, 0), value=True)
        return nn.functional.scaled_dot_product_attention(question, values, values, mask[:, None])[:, 0]

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        parts = self.mapped(encoded, inputs["size"])
        values = self.dropout(torch.cat([tokens.values for tokens in parts.values()], 1))
        mask = torch.cat([tokens.mask for tokens in parts.values()], 1)
        return Fused(inputs["size"], Tokens(values, mask), self.ask(values, mask), parts)


class Good(FusionConfig):
    """A learned token asks all modalities."""

    name = "good"
    module: ClassVar[type[nn.Module]] = Module
    width: int = option("channels", default=8, gt=0)

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        return self.module(widths, self.width)


@pytest.mark.parametrize("component", [Good, Good(width=6), ReferenceFusion, ReferenceFusion(width=3)], ids=str)
def test_a_right_fusion_passes_every_check(judge: Any, component: Any) -> None:
    assert judge(component) == set()
    assert judge.skips(component) == {"refills_its_buffers"}


class IgnoresMasks(Module):
    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        return super().ask(values, torch.ones_like(mask))


class TakesTheMean(Module):
    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        return super().ask(values, mask) + values.mean(1)


class CountsPositionsOverPadding(Module):
    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        place = torch.linspace(0, 1, values.shape[1], device=values.device)[:, None]
        return super().ask(values + place * mask[..., None], mask)


class NormalisesByTheBatch(Module):
    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__(widths, width)
        self.norm = nn.BatchNorm1d(width)

    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        return self.norm(super().ask(values, mask))


class CountsAbsentModalities(Module):
    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        return super().ask(values, mask) * (1 + mask.any(1).float().mean())


class KnowsWhoIsThere(Module):
    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        fused = super().forward(encoded, inputs)
        there = sum(1 for tokens in encoded.values() if len(tokens.values))
        return fused._replace(pooled=fused.pooled * there)


class SkipsTheAbsent(Module):
    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        return super().forward({key: tokens for key, tokens in encoded.items() if len(tokens.values)} or encoded, inputs)


class AttendsToNothing(Module):
    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        scores = (self.token.to(values) @ values.transpose(1, 2))[:, 0].masked_fill(~mask, float("-inf"))
        return (scores.softmax(-1)[..., None] * values).sum(1)


class HidesNaN(AttendsToNothing):
    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask.any(1, keepdim=True), super().ask(values, mask), self.token[0])


class NeedsAnImage(Module):
    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        return super().forward({"image": encoded["image"], **encoded}, inputs)


class TakesTheFirstItem(Module):
    def mapped(self, encoded: Mapping[str, Tokens], size: int) -> dict[str, Tokens]:
        first = {}
        for key, tokens in encoded.items():
            mask = tokens.mask & (tokens.slot == 0)[:, None]
            first[key] = tokens._replace(mask=mask)
        return super().mapped(first, size)


class DropsAModality(Module):
    def ask(self, values: Tensor, mask: Tensor) -> Tensor:
        return super().ask(values[:, :3], mask[:, :3])

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        fused = super().forward(encoded, inputs)
        return Fused(fused.size, None, fused.pooled)


class HasAnotherWidth(Module):
    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__(widths, width)
        self.width = width + 1


class NamesAStrangePart(Module):
    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        fused = super().forward(encoded, inputs)
        return fused._replace(parts={"video": fused.parts["image"]} if "image" in fused.parts else {})


class ReturnsATensor(Module):
    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Any:
        return super().forward(encoded, inputs).pooled


STATISTICS = {"missing_modality_is_invisible", "padding_is_invisible", "single_encoder_works", "a_sample_of_nothing_is_finite"}


@pytest.mark.parametrize(
    ("module", "check", "says", "besides"),
    [
        (IgnoresMasks, "padding_is_invisible", "(`pooled`)", STATISTICS),
        (TakesTheMean, "padding_is_invisible", "(`pooled`)", STATISTICS),
        (CountsPositionsOverPadding, "padding_is_invisible", "(`pooled`)", STATISTICS),
        (NormalisesByTheBatch, "neighbours_are_invisible", "(training mode)", set()),
        (CountsAbsentModalities, "a_sample_of_nothing_is_finite", "a statistic over the batch", {"neighbours_are_invisible"}),
        (KnowsWhoIsThere, "missing_modality_is_invisible", "a sample without audio changes", STATISTICS),
        (
            SkipsTheAbsent,
            "absent_modality_keeps_gradients",
            "`layers.audio.weight`, `layers.audio.bias`",
            {"fused_is_well_formed", "padding_is_invisible"},
        ),
        (AttendsToNothing, "a_sample_of_nothing_is_finite", "without any item", {"absent_modality_keeps_gradients"}),
        (HidesNaN, "absent_modality_keeps_gradients", "NaN or infinite", set()),
        (NeedsAnImage, "single_encoder_works", "KeyError", set()),
        (TakesTheFirstItem, "every_item_counts", "its second picture", set()),
        (DropsAModality, "every_item_counts", "comes out the same without", None),
        (HasAnotherWidth, "fused_is_well_formed", "pooled must be (B, width) = (4, 9)", set()),
        (NamesAStrangePart, "fused_is_well_formed", "`video`", set()),
        (ReturnsATensor, "fused_is_well_formed", "a2a_core.Fused", None),
    ],
)
def test_a_faulty_fusion_is_caught(judge: Any, module: type[Module], check: str, says: str, besides: set[str] | None) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "module": module})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}


class Asks(Good):
    """One encoder asks, another must be there."""

    query: str = option("the encoder that asks", default="sound", refers_to="encoders")
    also: tuple[str, ...] = option("further encoders", default=(), refers_to="encoders")

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        absent = {self.query, *self.also} - widths.keys()
        if absent:
            raise A2AError(f"there is no encoder {absent}")
        return self.module(widths, self.width)


@pytest.mark.parametrize("component", [Asks, Asks(also=("film",)), Asks(query="audio", also=("film", "text"))], ids=str)
def test_encoders_that_options_name_are_there(judge: Any, component: Any) -> None:
    assert judge(component) == set()


class Reads(Module):
    """Adds the mean of a text's embeddings, to which its media's tokens are added in their places."""

    def __init__(self, widths: Mapping[str, int], width: int) -> None:
        super().__init__(widths, width)
        self.vocabulary, self.table = 11, nn.Embedding(11, width)

    def forward(self, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
        text = inputs["text"]
        hidden = self.table(text["ids"])
        for key, tokens in encoded.items():
            places = text["media"][key]
            hidden = hidden.index_add(0, places, self.layers[key](tokens.in_order()[: len(places)]).to(hidden.dtype))
        pooled = torch.stack([each.mean(0) for each in self.apart(hidden, text["lengths"])])
        fused = super().forward(encoded, inputs)
        return fused._replace(pooled=fused.pooled + pooled, hidden=hidden, unembed=self.unembed)

    def apart(self, hidden: Tensor, lengths: list[int]) -> tuple[Tensor, ...]:
        return hidden.split(lengths)

    @property
    def unembed(self) -> Any:
        lent = nn.Linear(self.width, self.vocabulary, bias=False, device=self.table.weight.device)
        lent.weight = self.table.weight
        return lent


class Leaks(Reads):
    """Each text sees the others."""

    def apart(self, hidden: Tensor, lengths: list[int]) -> tuple[Tensor, ...]:
        return (hidden,) * len(lengths)


class ReadsText(Good):
    """Owns a vocabulary, like a language model."""

    reads_text = True
    module = Reads


class ReadsMedia(Good):
    """Has encoders of its own inside."""

    def media(self) -> Mapping[str, Medium]:
        return {"image": Medium("image", True, ReferenceProcessor())}


def test_a_fusion_that_reads_text_is_given_some(judge: Any) -> None:
    assert judge(ReadsText) == set()
    assert judge.skips(ReadsText) == {"refills_its_buffers"}
    leaking = type("Leaking", (ReadsText,), {"module": Leaks, "__doc__": "Leaks."})
    assert {"neighbours_are_invisible", "padding_is_invisible"} <= judge(leaking)


def test_a_fusion_that_reads_media_is_only_looked_at(judge: Any) -> None:
    assert judge(ReadsMedia) == set()
    assert "padding_is_invisible" in judge.skips(ReadsMedia)
