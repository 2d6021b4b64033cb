"""Invariants of collators."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from a2a_core.components import CollatorConfig
from a2a_core.errors import A2AError
from a2a_core.structures import Batch, Item, Sample
from a2a_core.testing.check import NotApplicable, attempt, expect, fail
from a2a_core.testing.compare import finite, same, tensors
from a2a_core.testing.reference import ReferenceProcessor, ReferenceTarget, sample
from a2a_core.testing.subject import Subject


def identity(tokens: int) -> int:
    """As many tokens as before."""
    return tokens


class CollatorSubject(Subject[CollatorConfig]):
    """A collator of two modalities of numbers, `image` and `audio`, and a head `score`."""

    processor = ReferenceProcessor()

    def prepare(self) -> None:
        """It collates."""
        self.batch()

    target = ReferenceTarget("value")

    @cached_property
    def samples(self) -> list[Sample]:
        """With both, with two images, without a target and without sound, without an image."""
        item = self.processor
        return [
            sample(0, {"image": [item([1.0, 2.0])], "audio": [item([3.0])]}, {"score": 0.5}),
            sample(1, {"image": [item([4.0]), item([5.0, 6.0, 7.0])], "audio": [item([8.0, 9.0])]}, {"score": 1.5}),
            sample(2, {"image": [item([10.0])], "audio": []}, {"score": None}),
            sample(3, {"image": [], "audio": [item([11.0, 12.0, 13.0])]}, {"score": 2.5}),
        ]

    @cached_property
    def collate(self) -> Callable[[Sequence[Sample]], Batch]:
        """Samples to a batch; NotApplicable for a collator that wants a text processor."""
        processors, lengths = dict.fromkeys(("image", "audio"), self.processor), dict.fromkeys(("image", "audio"), identity)
        try:
            return self.config.build(processors, {"score": self.target}, lengths)
        except A2AError as error:
            raise NotApplicable(f"it needs a fusion with a text processor: {error}") from error

    def batch(self, *indices: int) -> Batch:
        """Some samples, all by default."""
        chosen = [self.samples[index] for index in indices or range(len(self.samples))]
        with attempt(f"collating {len(chosen)} samples"):
            return self.collate(chosen)


def batch_is_well_formed(subject: CollatorSubject) -> None:
    """{"inputs": {"size", <encoder>: {"tensors", "row", "slot", "slots"}}, "targets": {<head>: tensors}, "ids"}: plain dicts.

    Trainers and data parallelism move and split nothing else.
    """
    batch = subject.batch()
    expect(
        type(batch) is dict and {"inputs", "targets", "ids"} <= set(batch),
        "a batch must be a dict of inputs, targets and ids",
        str(batch)[:200],
    )
    inputs, targets, ids = batch["inputs"], batch["targets"], batch["ids"]
    expect(
        inputs.get("size") == len(subject.samples), f"inputs.size of {len(subject.samples)} samples", repr(inputs.get("size"))
    )
    expect(list(ids) == [each.row.id for each in subject.samples], "ids must be those of the rows, in order", str(ids))
    for key in ("image", "audio"):
        expect(key in inputs, f"inputs has nothing for the encoder `{key}`", str(sorted(inputs)))
        media, wanted = inputs[key], {"tensors", "row", "slot", "slots"}
        expect(wanted <= set(media), f"inputs.{key} must hold {sorted(wanted)}", str(sorted(media)))
        items = sum(len(each.items[key]) for each in subject.samples)
        for name in ("row", "slot"):
            good = isinstance(media[name], Tensor) and media[name].dtype == torch.long and media[name].shape == (items,)
            expect(good, f"inputs.{key}.{name} must be a long tensor with an entry for each of {items} items", str(media[name]))
        most = max(len(each.items[key]) for each in subject.samples)
        expect(
            media["slots"] == most, f"inputs.{key}.slots must be the most items that a sample has, {most}", repr(media["slots"])
        )
    sizes = {name: tuple(value.shape) for name, value in tensors(targets).items()}
    expect(
        set(targets) == {"score"} and bool(sizes), "targets must hold what the head's target processor pads", str(targets)[:200]
    )
    expect(finite(inputs), "inputs are not finite")


def items_keep_their_place(subject: CollatorSubject) -> None:
    """Item n of a modality's tensors is the one that stands in sample `row[n]` at place `slot[n]`."""
    inputs = subject.batch()["inputs"]
    for key in ("image", "audio"):
        media = inputs[key]
        for index, (row, slot) in enumerate(zip(media["row"].tolist(), media["slot"].tolist(), strict=True)):
            own: Sequence[Item] = subject.samples[row].items[key]
            if slot >= len(own):
                fail(f"item {index} of {key} is said to be number {slot} of sample {row}, which has {len(own)}")
            same(
                f"item {index} of {key} is not number {slot} of sample {row}",
                own[slot].tensors["numbers"],
                media["tensors"]["numbers"][index, : own[slot].length],
                "row and slot are counted in another order than the items",
                "make the list of (row, slot, item) once, and take all three from it",
                tolerance=0,
            )


def absent_modality_is_a_dummy(subject: CollatorSubject) -> None:
    """Where no sample of a batch has a modality its tensors hold one dummy item that no row points to.

    So its encoder runs on every rank, and none waits for another.
    """
    for index, key in ((2, "audio"), (3, "image")):
        media = subject.batch(index)["inputs"].get(key)
        expect(media is not None, f"a batch without {key} has no inputs.{key}", remedy="processor.pad([processor.dummy()])")
        count = next(iter(media["tensors"].values())).shape[0]
        expect(
            count == 1,
            f"a batch without {key} must hold one dummy item",
            f"{count} items",
            remedy="processor.pad([processor.dummy()])",
        )
        expect(not media["row"].numel() and not media["slot"].numel(), f"rows point to the dummy of {key}", str(media["row"]))
        expect(media["slots"] == 1, f"slots of an absent {key} must be 1", repr(media["slots"]))


def targets_stay_with_their_samples(subject: CollatorSubject) -> None:
    """Targets stand in the order of samples; a missing one is what the target processor makes of None."""
    for order in ((0, 1, 2, 3), (3, 2, 0)):
        found = subject.batch(*order)["targets"]["score"]
        wanted = subject.target.pad([subject.samples[index].targets["score"] for index in order])
        for name, value in wanted.items():
            same(
                f"targets.score.{name} is in another order",
                value.nan_to_num(-1),
                found[name].nan_to_num(-1),
                "",
                "",
                tolerance=0,
            )
    unlabelled = sample(9, {"image": [subject.processor([1.0])], "audio": []})
    with attempt("collating a sample whose targets lack a head's (prediction)", remedy="sample.targets.get(head)"):
        subject.collate([unlabelled])


def collate_is_picklable(subject: CollatorSubject) -> None:
    """What build() gives pickles: data workers get copies."""
    with attempt(
        "pickling what build() gives", "a lambda or a local function", "return an instance of a class at module level"
    ):
        pickle.loads(pickle.dumps(subject.collate))


CHECKS = (
    batch_is_well_formed,
    items_keep_their_place,
    absent_modality_is_a_dummy,
    targets_stay_with_their_samples,
    collate_is_picklable,
)
