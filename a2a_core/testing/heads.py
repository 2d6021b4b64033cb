"""Invariants of heads and of the processors of their targets."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from a2a_core.components import HeadConfig
from a2a_core.errors import A2AError
from a2a_core.structures import Fused, TargetProcessor, TextTarget, Tokens, Widths
from a2a_core.testing.check import NotApplicable, attempt, expect, fail, raised
from a2a_core.testing.compare import finite, numbers, same, seeded
from a2a_core.testing.modules import MODULES, listed, shapes
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion
from a2a_core.testing.subject import ModuleSubject

WIDTH, VOCABULARY = 16, 40
PARTS = {"image": 16, "audio": 24}
LENGTHS = (5, 2, 7)
EXAMPLES = """
    def examples(self):
        return [{"label": "cat"}, {"label": "dog"}, {"label": "cat"}]      # a row's fields, with different targets
"""


class HeadSubject(ModuleSubject[HeadConfig]):
    """A head, and what a fusion of width 16 with parts of 16 and 24 channels gives it for three samples."""

    @cached_property
    def rows(self) -> list[Mapping[str, Any]]:
        """Rows with a target."""
        with attempt(f"`{self.cls.__name__}.examples()`", remedy=f"give the class\n{EXAMPLES}"), seeded():
            found = list(self.config.examples())
        if len(found) < 2:
            text = f"`{self.cls.__name__}.examples()` gives {len(found)} rows; at least two different ones are needed"
            fail(text, remedy=f"give the class\n{EXAMPLES}")
        return found

    def column(self, field: str) -> Iterable[Any]:
        """A field of the rows."""
        return [row.get(field) for row in self.rows]

    @cached_property
    def resolved(self) -> HeadConfig:
        """What the rows teach (class names), filled in."""
        config = self.config
        with attempt("resolved(column)"):
            return config.resolved(self.column)

    @cached_property
    def processor(self) -> TargetProcessor | None:
        """Encodes targets."""
        with attempt("processor()"):
            return self.resolved.processor()

    @cached_property
    def spec(self) -> Widths:
        """With a vocabulary if it does not build without."""
        try:
            self.resolved.build(Widths(WIDTH, PARTS))
        except A2AError:
            return Widths(WIDTH, PARTS, VOCABULARY)
        return Widths(WIDTH, PARTS)

    def make(self) -> Any:
        """Build it."""
        return self.resolved.build(self.spec)

    def fused(self, *lengths: int, seed: int = 0) -> Fused:
        """Samples of so many tokens; what padding holds must not matter. NotApplicable for a head that predicts text."""
        refuse_text(self.processor)
        made = {key: padded(lengths, width, seed + width) for key, width in {"": WIDTH, **PARTS}.items()}
        encoded = {key: padded(lengths, width, seed - width) for key, width in PARTS.items()}
        pooled = torch.stack([numbers(WIDTH, seed=seed + length) for length in lengths])
        return Fused(len(lengths), made.pop(""), pooled, made, Unembedding() if self.spec.vocabulary else None, encoded)

    def arguments(self) -> tuple[Any, ...]:
        """Three samples."""
        return self.fused(*LENGTHS), {"size": len(LENGTHS)}

    def whole(self) -> dict[str, Any]:
        """Behind reference encoders and a reference fusion."""
        encoders = {key: ReferenceEncoder() for key in PARTS}
        return {"encoders": encoders, "fusion": ReferenceFusion(width=WIDTH), "heads": {"it": self.resolved}}

    def judge(self, module: Any, *lengths: int) -> dict[str, Tensor]:
        """The outputs for some samples, without gradients."""
        with torch.no_grad(), seeded(), attempt(f"forward of {len(lengths)} samples"):
            result = module(self.fused(*lengths), {"size": len(lengths)})
        good = isinstance(result, dict) and result and all(isinstance(value, Tensor) for value in result.values())
        if not good:
            fail("forward must return a dict of tensors", type(result).__name__, remedy='return {"logits": logits}')
        return dict(result)


class Unembedding:
    """Hidden states (..., C) -> logits over the vocabulary."""

    def __call__(self, hidden: Tensor) -> Tensor:
        """The product with fixed numbers."""
        return hidden @ numbers(WIDTH, VOCABULARY, seed=1).to(hidden)

    def parameters(self) -> Sequence[Tensor]:
        """None."""
        return ()


def refuse_text(processor: TargetProcessor | None) -> None:
    """NotApplicable for that of a head which predicts text."""
    if isinstance(processor, TextTarget):
        raise NotApplicable("it predicts the text of a fusion that owns a vocabulary, which the kit cannot make up")


def padded(lengths: Sequence[int], width: int, seed: int) -> Tokens:
    """One row of tokens a sample."""
    values = 10 * numbers(len(lengths), max(lengths), width, seed=99)
    mask = torch.zeros(len(lengths), max(lengths), dtype=torch.bool)
    for place, length in enumerate(lengths):
        values[place, :length], mask[place, :length] = numbers(length, width, seed=seed + length), True
    return Tokens(values, mask)


def predicts_a_value_for_each_sample(subject: HeadSubject) -> None:
    """`predict(outputs)` gives one plain value a sample, which JSON can hold; outputs are finite."""
    module = subject.fresh()
    for lengths in (LENGTHS, LENGTHS[:1]):
        outputs = subject.judge(module, *lengths)
        expect(
            finite(outputs), "outputs are not finite", listed([name for name, value in outputs.items() if not finite(value)])
        )
        with attempt("predict(outputs)"):
            predicted = list(module.predict(outputs))
        expect(len(predicted) == len(lengths), f"predict gives {len(predicted)} values for {len(lengths)} samples")
        try:
            json.dumps(predicted)
        except (TypeError, ValueError) as error:
            fail(f"predict gives values that JSON cannot hold: {error}", str(predicted)[:200], remedy="tensor.tolist()")


def padding_is_invisible(subject: HeadSubject) -> None:
    """A sample gets the same outputs alone as beside longer ones."""
    module = subject.lively()
    together = subject.judge(module, *LENGTHS)
    for index, length in enumerate(LENGTHS):
        for name, value in subject.judge(module, length).items():
            other = together[name]
            if other.dim() == 0 or other.shape[0] != len(LENGTHS):
                continue
            shown = other[index][tuple(slice(0, size) for size in value.shape[1:])]
            cut = value[0][:length] if is_sequence(value, length) else value[0]
            same(
                f"`{name}` of sample {index} changes beside longer samples",
                cut,
                shown[: len(cut)] if cut.dim() else shown,
                "a mean over all tokens instead of the masked ones, attention without mask",
                "use fused.tokens.mask (fused.parts[...].mask)",
            )


def is_sequence(value: Tensor, length: int) -> bool:
    """One output a token."""
    return value.dim() > 1 and value.shape[1] == length


def neighbours_are_invisible(subject: HeadSubject) -> None:
    """A sample gets the same outputs whatever stands beside it, in training too."""
    for training in (False, True):
        module = subject.lively().train(training)
        one, other = subject.judge(module, 5, 2, 7), subject.judge(module, 5, 3, 7)
        for name, value in one.items():
            if value.dim() and value.shape[0] == 3:
                same(
                    f"`{name}` of sample 0 changes when another sample does ({'training' if training else 'evaluation'} mode)",
                    value[0],
                    other[name][0],
                    "BatchNorm, or any statistic over the batch",
                    "use LayerNorm; keep samples apart",
                )


def targets_are_encoded(subject: HeadSubject) -> None:
    """The target processor encodes every example, says None of a row without a target, and pads both together."""
    processor = target_processor(subject)
    encoded = [encode(processor, row) for row in subject.rows]
    expect(all(each is not None for each in encoded), "a row of examples() has no target", str(subject.rows)[:200])
    for what, row in (("without its field", {}), ("whose field is null", dict.fromkeys(subject.rows[0]))):
        with attempt(f"the target processor, given a row {what},", remedy="return None: rows without a label are normal"):
            found = processor(row)
        expect(found is None, f"a row {what} is encoded as {found!r}", remedy="return None: rows without a label are normal")
    for targets in (encoded, [encoded[0], None], [None]):
        with attempt(
            f"pad() of {len(targets)} targets, {targets.count(None)} of them None", remedy="None becomes what the losses ignore"
        ):
            made = processor.pad(targets)
        good = bool(made) and all(isinstance(value, Tensor) and value.shape[:1] == (len(targets),) for value in made.values())
        shapes = {name: tuple(getattr(value, "shape", ())) for name, value in made.items()}
        expect(good, f"pad() of {len(targets)} targets must give tensors with dimension 0 = samples", str(shapes))


def target_processor_is_picklable(subject: HeadSubject) -> None:
    """The target processor pickles, and its copy encodes alike: data workers get copies."""
    processor = target_processor(subject)
    with attempt("pickling the target processor", "a lambda, a local function or class in an attribute", "keep plain values"):
        copy = pickle.loads(pickle.dumps(processor))
    wanted = processor.pad([encode(processor, row) for row in subject.rows])
    got = copy.pad([encode(copy, row) for row in subject.rows])
    for name, value in wanted.items():
        same(
            f"`{name}` of a pickled target processor differs",
            value,
            got[name],
            "state lost in __getstate__",
            "keep it",
            tolerance=0,
        )


def wrong_targets_are_value_errors(subject: HeadSubject) -> None:
    """NaN, infinity or a value of the wrong kind is a ValueError that says why: a quarantined row, not a NaN in the loss."""
    processor = target_processor(subject)
    for field in subject.rows[0]:
        for wrong in (math.nan, math.inf, {"not": "a target"}):
            row = {**subject.rows[0], field: wrong}
            try:
                found = processor(row)
            except ValueError as error:
                expect(len(str(error)) > 5, f"the ValueError for {row} has no message", repr(str(error)))
                continue
            except Exception as error:  # any other exception is what this check looks for
                fail(f"a target of {wrong!r} raises {raised(error)}", remedy="raise ValueError that names what is wrong")
            if found is not None and isinstance(wrong, float):
                expect(
                    finite(processor.pad([found])),
                    f"a target of {wrong!r} is encoded as {found!r}",
                    because="no check: one such row makes every weight NaN",
                    remedy="raise ValueError unless math.isfinite(value)",
                )


def resolved_is_self_contained(subject: HeadSubject) -> None:
    """`resolved(column)` builds the same module from then on, without the training rows."""
    with attempt("resolved(column) of what is resolved"):
        twice = subject.resolved.resolved(no_column)
    expect(twice == subject.resolved, "resolved() of what is resolved differs", f"{subject.resolved} against {twice}")
    with seeded():
        module = twice.build(subject.spec)
    wanted, got = shapes(subject.fresh()), shapes(module)
    differ = sorted(name for name in wanted.keys() | got.keys() if wanted.get(name) != got.get(name))
    expect(not differ, f"resolved() builds a module with other tensors: {listed(differ)}")


def no_column(field: str) -> Iterable[Any]:
    """The training rows are gone."""
    raise A2AError(f"`resolved` asks for the training rows' `{field}` again")


def target_processor(subject: HeadSubject) -> TargetProcessor:
    """The head's own; NotApplicable for a head without."""
    if subject.processor is None:
        raise NotApplicable("it has no target processor")
    refuse_text(subject.processor)
    return subject.processor


def encode(processor: TargetProcessor, row: Mapping[str, Any]) -> Any:
    """One row's target."""
    with attempt("the target processor, given one of examples(),"):
        return processor(row)


CHECKS = (
    predicts_a_value_for_each_sample,
    padding_is_invisible,
    neighbours_are_invisible,
    targets_are_encoded,
    target_processor_is_picklable,
    wrong_targets_are_value_errors,
    resolved_is_self_contained,
    *MODULES,
)
