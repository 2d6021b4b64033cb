"""Invariants of encoders' processors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from a2a_core.components import RecordingConfig
from a2a_core.structures import Segment
from a2a_core.testing.check import NotApplicable, attempt, expect, fail
from a2a_core.testing.compare import finite, same, seeded
from a2a_core.testing.encoders import EncoderSubject, processed
from a2a_core.testing.modules import listed


def items_are_well_formed(subject: EncoderSubject) -> None:
    """The processor makes an Item: named tensors without a batch dimension, and a length of at least one token."""
    for item in [*subject.items, subject.processor.dummy()]:
        plain = [name for name, value in item.tensors.items() if not isinstance(value, Tensor)]
        expect(bool(item.tensors) and not plain, f"item.tensors holds no tensor for {listed(plain)}", str(item.tensors)[:200])
        wrong = isinstance(item.length, bool) or not isinstance(item.length, int) or item.length < 1
        expect(
            not wrong,
            "item.length must be an int of at least 1",
            repr(item.length),
            remedy="int(...) of a numpy or torch number",
        )
        expect(
            finite(item.tensors),
            "an item holds NaN or infinity",
            because="a logarithm of 0, a division by the standard deviation of silence",
        )
    padded = subject.pad(subject.items)
    sizes = {name: tuple(value.shape) for name, value in padded.items()}
    wrong = any(shape[:1] != (len(subject.items),) for shape in sizes.values())
    expect(not wrong, f"pad() of {len(subject.items)} items must give every tensor dimension 0 = items", str(sizes))


def dummy_is_finite_and_short(subject: EncoderSubject) -> None:
    """`dummy()` is an item like any other, no longer than the shortest example, finite through forward and backward."""
    processor = subject.processor
    with attempt("processor.dummy()"):
        dummy = processor.dummy()
    shortest = min(item.length for item in subject.items)
    expect(
        dummy.length <= shortest,
        f"the dummy becomes {dummy.length} tokens, the shortest example {shortest}",
        because="a dummy made at a convenient size",
        remedy="make it as short as the encoder takes: every batch without the modality pays for it",
    )
    names = {name: (value.dim(), value.dtype) for name, value in dummy.tensors.items()}
    wanted = {name: (value.dim(), value.dtype) for name, value in subject.items[0].tensors.items()}
    expect(names == wanted, "the dummy's tensors are not like an example's (dimensions, dtype)", f"{names} against {wanted}")
    module = subject.lively()
    tokens = subject.forward(module, subject.pad([dummy]))
    values, emitted = tokens.values, int(tokens.mask.sum())
    if values.requires_grad:
        torch.autograd.backward(values.sum())
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    expect(
        finite(dummy.tensors) and finite(values) and finite(gradients),
        "the dummy, its tokens or the gradients through it are not finite",
        because="log(0) of silence, a variance of a constant, torch.empty",
        remedy="clamp before log and division; a NaN here leaves the loss finite and makes gradients NaN",
    )
    expect(emitted == dummy.length, f"the dummy says {dummy.length} tokens, the encoder emits {emitted}")


def processor_is_picklable(subject: EncoderSubject) -> None:
    """The processor pickles, before and after its first use, and its copy works alike: data workers get copies."""
    raw = subject.raws[0]
    for state_, processor in (("before", subject.config.processor()), ("after", subject.processor)):
        with attempt(
            f"pickling the processor {state_} its first use",
            "a lambda, a local function or class, an open file or a lock in an attribute",
            "keep plain values; build the rest on first use (functools.cached_property) and drop it in __getstate__",
        ):
            copy = pickle.loads(pickle.dumps(processor))
        with seeded():
            wanted = processed(processor, raw)
        with seeded():
            got = processed(copy, raw)
        for name, value in wanted.tensors.items():
            same(
                f"`{name}` of a pickled processor differs",
                value,
                got.tensors[name],
                "state lost in __getstate__",
                "keep it",
                tolerance=0,
            )


def processor_is_deterministic(subject: EncoderSubject) -> None:
    """A processor says whether it is deterministic; where it says so, the same medium gives the same item, to the bit."""
    said = getattr(subject.processor, "deterministic", None)
    expect(
        isinstance(said, bool),
        "the processor does not say whether it is `deterministic`",
        repr(said),
        remedy="deterministic = True",
    )
    if not said:
        raise NotApplicable("its processor says that it is not deterministic")
    for index, raw in enumerate(subject.raws):
        with seeded(1):
            first = processed(subject.processor, raw)
        with seeded(2):
            second = processed(subject.processor, raw)
        expect(first.length == second.length, f"example {index}: {first.length} tokens, then {second.length}")
        for name, value in first.tensors.items():
            same(
                f"example {index}: `{name}` differs when it is processed again",
                value,
                second.tensors[name],
                "augmentation, dither or a random crop; or the first call changed its input",
                "set `deterministic = False` (what depends on it is then not cached), or leave the randomness out",
                tolerance=0,
            )


def unreadable_media_are_value_errors(subject: EncoderSubject) -> None:
    """A medium that cannot be read is a ValueError that says why: it becomes a quarantined row instead of a failed run."""
    processor, first = subject.processor, subject.raws[0]
    bad: list[Any] = [{"not": "a medium"}]
    if isinstance(first, (str, Path)) and Path(first).is_file():
        for name, content in (("empty", b""), ("noise", bytes(range(256)) * 8)):
            (subject.folder / f"{name}{Path(first).suffix}").write_bytes(content)
            bad.append(type(first)(subject.folder / f"{name}{Path(first).suffix}"))
    for raw in bad:
        try:
            processor(raw)
        except ValueError as error:
            expect(len(str(error)) > 5, f"the ValueError for {raw!r} has no message", repr(str(error)))
        except Exception as error:  # any other exception is what this check looks for
            fail(
                f"processor({raw!r}) raises {type(error).__name__}: {error}",
                because="the error of the library that reads the medium is passed on",
                remedy='raise ValueError("not an image: ...") from error; the caller adds row and file',
            )


def segments_are_read(subject: EncoderSubject) -> None:
    """The processor of recordings takes a Segment: from 0 to the end it is the recording, past the end a ValueError."""
    if not isinstance(subject.config, RecordingConfig):
        raise NotApplicable("its media do not last: it is no RecordingConfig")
    processor = subject.processor
    for index, raw in enumerate(subject.raws):
        with attempt(f"the processor, given example {index} as Segment(raw, 0.0, None),"):
            segment = processed(processor, Segment(raw))
        whole = subject.items[index]
        expect(segment.length == whole.length, f"example {index}: {whole.length} tokens, as a segment {segment.length}")
        for name, value in whole.tensors.items():
            same(
                f"example {index}: `{name}` of the segment from 0 to the end differs from the recording's",
                value,
                segment.tensors[name],
                "the segment is cut off by one, or shifted",
                "start, end = segment.within(duration)",
            )
    try:
        processor(Segment(subject.raws[0], 1e6))
    except ValueError:
        return
    fail(
        "a segment that starts past the end of the recording is processed",
        because="the end was cut, or the recording is read from its beginning instead",
        remedy="start, end = segment.within(duration), which raises ValueError",
    )


CHECKS = (
    items_are_well_formed,
    dummy_is_finite_and_short,
    processor_is_picklable,
    processor_is_deterministic,
    unreadable_media_are_value_errors,
    segments_are_read,
)
