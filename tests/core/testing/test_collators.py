"""The core's collator passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch

from a2a_core import A2AError, Batch, CollatorConfig, Processor, Sample, TargetProcessor
from a2a_core.builtin.pad import Pad, PadCollator


def test_a_right_collator_passes_every_check(judge: Any) -> None:
    assert judge(PadCollator) == set()
    assert judge.skips(PadCollator) == set()


class Good(PadCollator):
    """Pads, by a class that can be replaced."""

    collate: ClassVar[type[Pad]] = Pad

    def build(
        self,
        processors: Mapping[str, Processor],
        targets: Mapping[str, TargetProcessor],
        lengths: Mapping[str, Callable[[int], int]],
        text: Any = None,
        modalities: Any = None,
    ) -> Any:
        return self.collate(processors, targets)


class ForgetsTheSize(Pad):
    def __call__(self, samples: Sequence[Sample]) -> Batch:
        batch = super().__call__(samples)
        return {**batch, "inputs": {**batch["inputs"], "size": 1}}


class MakesObjects(Pad):
    def __call__(self, samples: Sequence[Sample]) -> Any:
        return list(super().__call__(samples).items())


class MixesUpIds(Pad):
    def __call__(self, samples: Sequence[Sample]) -> Batch:
        return {**super().__call__(samples), "ids": [sample.row.id for sample in reversed(samples)]}


class LeavesOutWhatIsAbsent(Pad):
    def __call__(self, samples: Sequence[Sample]) -> Batch:
        batch = super().__call__(samples)
        inputs = {key: media for key, media in batch["inputs"].items() if key == "size" or len(media["row"])}
        return {**batch, "inputs": inputs}


class PointsToTheDummy(Pad):
    def media(self, samples: Sequence[Sample], key: str) -> dict[str, Any]:
        media = super().media(samples, key)
        return (
            media
            if len(media["row"])
            else {**media, "row": torch.zeros(1, dtype=torch.long), "slot": torch.zeros(1, dtype=torch.long)}
        )


class GivesEachSampleADummy(Pad):
    def media(self, samples: Sequence[Sample], key: str) -> dict[str, Any]:
        media = super().media(samples, key)
        dummies = self.processors[key].pad([self.processors[key].dummy()] * 2)
        return media if len(media["row"]) else {**media, "tensors": dummies}


class MixesUpItems(Pad):
    def media(self, samples: Sequence[Sample], key: str) -> dict[str, Any]:
        media = super().media(samples, key)
        return {**media, "row": media["row"].flip(0), "slot": media["slot"].flip(0)}


class MixesUpSlots(Pad):
    def media(self, samples: Sequence[Sample], key: str) -> dict[str, Any]:
        media = super().media(samples, key)
        return {**media, "slot": torch.zeros_like(media["slot"])}


class PlacesByFloats(Pad):
    def media(self, samples: Sequence[Sample], key: str) -> dict[str, Any]:
        media = super().media(samples, key)
        return {**media, "row": media["row"].float()}


class MixesUpTargets(Pad):
    def __call__(self, samples: Sequence[Sample]) -> Batch:
        return {**super().__call__(samples), "targets": super().__call__(samples[::-1])["targets"]}


class NeedsTargets(Pad):
    def __call__(self, samples: Sequence[Sample]) -> Batch:
        assert all("score" in sample.targets for sample in samples)
        return super().__call__(samples)


class HoldsALambda(Pad):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.order = lambda samples: samples


@pytest.mark.parametrize(
    ("collate", "check", "says", "besides"),
    [
        (ForgetsTheSize, "batch_is_well_formed", "inputs.size of 4 samples", set()),
        (MakesObjects, "batch_is_well_formed", "a dict of inputs, targets and ids", None),
        (MixesUpIds, "batch_is_well_formed", "in order", set()),
        (LeavesOutWhatIsAbsent, "absent_modality_is_a_dummy", "no inputs.audio", set()),
        (PointsToTheDummy, "absent_modality_is_a_dummy", "rows point to the dummy", set()),
        (GivesEachSampleADummy, "absent_modality_is_a_dummy", "2 items", set()),
        (MixesUpItems, "items_keep_their_place", "item 0 of image is not number 0 of sample 2", set()),
        (MixesUpSlots, "items_keep_their_place", "item 2 of image is not number 0 of sample 1", set()),
        (PlacesByFloats, "batch_is_well_formed", "inputs.image.row must be a long tensor", None),
        (MixesUpTargets, "targets_stay_with_their_samples", "in another order", set()),
        (NeedsTargets, "targets_stay_with_their_samples", "(prediction)", set()),
        (HoldsALambda, "collate_is_picklable", "a lambda", set()),
    ],
)
def test_a_faulty_collator_is_caught(judge: Any, collate: type[Pad], check: str, says: str, besides: set[str] | None) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "collate": collate})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}


class Chat(CollatorConfig):
    """Needs a fusion with a text processor."""

    name = "chat"

    def build(
        self,
        processors: Mapping[str, Processor],
        targets: Mapping[str, TargetProcessor],
        lengths: Mapping[str, Callable[[int], int]],
        text: Any = None,
        modalities: Any = None,
    ) -> Callable[[Sequence[Sample]], Batch]:
        raise A2AError("collator `chat` needs a fusion with text")


def test_a_collator_of_text_is_only_looked_at(judge: Any) -> None:
    assert judge(Chat) == set()
    assert "batch_is_well_formed" in judge.skips(Chat)
