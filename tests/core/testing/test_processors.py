"""Faults of processors, each caught by the check that is there for it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from a2a_core import EncoderConfig, Item, option
from a2a_core.testing.reference import ReferenceEncoder, ReferenceProcessor


class Good(ReferenceEncoder):
    """Reads lists of numbers from JSON files."""

    name = "good"
    reads = "file"
    processes: ClassVar[type[Any]]

    def processor(self) -> Any:
        return self.processes()

    def examples(self, folder: Path) -> Sequence[Any]:
        paths = [folder / f"{index}.json" for index in range(3)]
        for path, raw in zip(paths, super().examples(folder), strict=True):
            path.write_text(json.dumps(raw))
        return paths


class FromFile(ReferenceProcessor):
    def __call__(self, raw: Any) -> Item:
        try:
            return super().__call__(json.loads(Path(raw).read_bytes()) if isinstance(raw, (str, Path)) else raw)
        except json.JSONDecodeError as error:
            raise ValueError(f"no JSON: {error}") from error


Good.processes = FromFile


def test_a_right_processor_passes_every_check(judge: Any) -> None:
    assert judge(Good) == set()


class HasNoLength(FromFile):
    def __call__(self, raw: Any) -> Item:
        return super().__call__(raw)._replace(length=torch.tensor(3))  # type: ignore[arg-type]


class MakesATuple(FromFile):
    def __call__(self, raw: Any) -> Any:
        return tuple(super().__call__(raw))


class MakesNaN(FromFile):
    def __call__(self, raw: Any) -> Item:
        item = super().__call__(raw)
        numbers = item.tensors["numbers"]
        return item._replace(tensors={"numbers": (numbers - numbers.mean()) / numbers.std(correction=0)})


class PadsOnTheWrongSide(FromFile):
    def pad(self, items: Sequence[Item]) -> dict[str, torch.Tensor]:
        return {name: value.T for name, value in super().pad(items).items() if value.dim() > 1} | {
            "lengths": torch.tensor([item.length for item in items])
        }


class HasALongDummy(FromFile):
    def dummy(self) -> Item:
        return super().__call__([0.0] * 10)


class HasAnotherDummy(FromFile):
    def dummy(self) -> Item:
        return Item({"numbers": torch.zeros(1, dtype=torch.float64)}, 1)


class HasAnInfiniteDummy(FromFile):
    def dummy(self) -> Item:
        return Item({"numbers": torch.full((1,), math.inf)}, 1)


class HoldsALambda(FromFile):
    def __init__(self) -> None:
        self.scale = lambda number: number


class OpensALambda(FromFile):
    def __call__(self, raw: Any) -> Item:
        self.scale = lambda number: number
        return super().__call__(raw)


class ForgetsInCopies(FromFile):
    factor = 1.0

    def __init__(self) -> None:
        self.factor = 2.0

    def __getstate__(self) -> dict[str, Any]:
        return {"copied": True}

    def __call__(self, raw: Any) -> Item:
        item = super().__call__(raw)
        return item._replace(tensors={"numbers": item.tensors["numbers"] * self.factor})


class Dithers(FromFile):
    def __call__(self, raw: Any) -> Item:
        item = super().__call__(raw)
        return item._replace(tensors={"numbers": item.tensors["numbers"] + random.gauss(0, 0.1)})


class CropsAtRandom(FromFile):
    def __call__(self, raw: Any) -> Item:
        numbers = super().__call__(raw).tensors["numbers"]
        numbers = numbers[: int(torch.randint(1, len(numbers) + 1, ()))]
        return Item({"numbers": numbers}, len(numbers))


class SaysNothing(FromFile):
    deterministic = None  # type: ignore[assignment]


class PassesErrorsOn(FromFile):
    def __call__(self, raw: Any) -> Item:
        if isinstance(raw, Path) and b"\x01" in raw.read_bytes():
            raise RuntimeError("decoder failed")
        return super().__call__(raw)


class TakesOnlyPaths(FromFile):
    def __call__(self, raw: Any) -> Item:
        return super().__call__(raw if isinstance(raw, list) else Path(raw))


class FailsWithoutAWord(FromFile):
    def __call__(self, raw: Any) -> Item:
        try:
            return super().__call__(raw)
        except ValueError:
            raise ValueError from None


@pytest.mark.parametrize(
    ("processes", "check", "says", "besides"),
    [
        (HasNoLength, "items_are_well_formed", "item.length", None),
        (MakesATuple, "can_be_tested", "a2a_core.Item", None),
        (MakesNaN, "items_are_well_formed", "NaN", None),
        (PadsOnTheWrongSide, "items_are_well_formed", "dimension 0 = items", None),
        (HasALongDummy, "dummy_is_finite_and_short", "10 tokens, the shortest example 1", set()),
        (HasAnotherDummy, "dummy_is_finite_and_short", "float64", None),
        (
            HasAnInfiniteDummy,
            "dummy_is_finite_and_short",
            "not finite",
            {"items_are_well_formed", "missing_modality_is_invisible"},
        ),
        (HoldsALambda, "processor_is_picklable", "before its first use", set()),
        (OpensALambda, "processor_is_picklable", "after its first use", set()),
        (ForgetsInCopies, "processor_is_picklable", "`numbers` of a pickled processor differs", set()),
        (Dithers, "processor_is_deterministic", "example 0: `numbers` differs", set()),
        (CropsAtRandom, "processor_is_deterministic", "tokens, then", set()),
        (SaysNothing, "processor_is_deterministic", "deterministic = True", set()),
        (PassesErrorsOn, "unreadable_media_are_value_errors", "noise.json')) raises RuntimeError: decoder failed", set()),
        (TakesOnlyPaths, "unreadable_media_are_value_errors", "raises TypeError", set()),
        (FailsWithoutAWord, "unreadable_media_are_value_errors", "has no message", set()),
    ],
)
def test_a_faulty_processor_is_caught(
    judge: Any, processes: type[Any], check: str, says: str, besides: set[str] | None
) -> None:
    faulty = type(
        "Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "processes": processes}
    )
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}


class NotDeterministic(Dithers):
    deterministic = False


class Augmenting(Good):
    """Adds noise, and says so."""

    processes = NotDeterministic


def test_a_processor_may_be_random_if_it_says_so(judge: Any) -> None:
    assert judge(Augmenting) == set()
    assert "processor_is_deterministic" in judge.skips(Augmenting)


class WithoutExamples(EncoderConfig):
    """Gives the kit nothing to test it with."""

    name = "silent"
    width: int = option("channels", default=4)

    def processor(self) -> Any:
        return ReferenceProcessor()

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)


class WithOneExample(WithoutExamples):
    """Gives the kit too little to test it with."""

    def examples(self, folder: Path) -> Sequence[Any]:
        return [[1.0]]


def test_without_examples_one_check_fails_and_says_what_to_add(judge: Any) -> None:
    assert "can_be_tested" in judge(WithoutExamples)
    said = judge.says(WithoutExamples, "can_be_tested")
    assert "NotImplementedError" in said
    assert "def examples(self, folder):" in said
    assert {"padding_is_invisible", "items_are_well_formed", "runs_on_meta"} <= judge.skips(WithoutExamples)
    assert "gives 1 media" in judge.says(WithOneExample, "can_be_tested")
