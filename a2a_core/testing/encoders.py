"""Invariants of encoders."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import attrs
import torch
from torch import Tensor

from a2a_core.components import EncoderConfig
from a2a_core.structures import Item, Processor, Tokens
from a2a_core.testing.check import attempt, expect, fail
from a2a_core.testing.compare import enlivened, finite, same, seeded
from a2a_core.testing.modules import MODULES, listed, state
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, ReferenceHead, sample
from a2a_core.testing.subject import ModuleSubject

EXAMPLES = """
    def examples(self, folder):
        # three or four small raw media, of different lengths where the modality has lengths; files go into `folder`
        return ["a text", "another, longer text", "one"]
"""
PADDING = "mask before every operation that mixes positions: x * mask[..., None] before a convolution, attn_mask in attention"


class EncoderSubject(ModuleSubject[EncoderConfig]):
    """An encoder, its processor and a few processed items."""

    @cached_property
    def raws(self) -> Sequence[Any]:
        """Raw media."""
        with attempt(f"`{self.cls.__name__}.examples(folder)`", remedy=f"give the class\n{EXAMPLES}"), seeded():
            found = list(self.config.examples(self.folder))
            if self.config.reads == "file":  # what stands in a row becomes a path before it is processed
                found = [Path(raw) for raw in found]
        if len(found) < 2:
            text = f"`{self.cls.__name__}.examples(folder)` gives {len(found)} media; at least two are compared"
            fail(text, remedy=f"give the class\n{EXAMPLES}")
        return found

    @cached_property
    def processor(self) -> Processor:
        """Raw medium -> Item."""
        config = self.config
        with attempt("processor()"):
            return config.processor()

    @cached_property
    def items(self) -> list[Item]:
        """The raw media, processed."""
        processor, raws = self.processor, self.raws
        with attempt("the processor, given one of examples(),"):
            return [processed(processor, raw) for raw in raws]

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """What the encoder is called with."""
        with attempt(
            f"processor.pad() of {len(items)} items", remedy="give every tensor dimension 0 = items, of the same length"
        ):
            return self.processor.pad(items)

    def make(self) -> Any:
        """Build it."""
        return self.config.build()

    def arguments(self) -> tuple[Any, ...]:
        """All examples, padded."""
        return (self.pad(self.items),)

    def forward(self, module: Any, *arguments: Any) -> Tokens:
        """Tokens of the items."""
        result = module(**arguments[0])
        if not isinstance(result, Tokens):
            fail(f"forward returns {type(result).__name__}", remedy="return a2a_core.Tokens(values, mask)")
        return result

    def whole(self, **changes: Any) -> dict[str, Any]:
        """The encoder `it` beside a reference encoder `other`."""
        config = attrs.evolve(cast("Any", self.config.resolved()), **changes)
        encoders = {"it": config, "other": ReferenceEncoder()}
        return {"encoders": encoders, "fusion": ReferenceFusion(), "heads": {"head": ReferenceHead()}}

    def encode(self, module: Any, items: Sequence[Item]) -> Tokens:
        """Tokens of some items, without gradients."""
        with torch.no_grad(), seeded(), attempt(f"forward of {len(items)} items"):
            return self.forward(module, self.pad(items))


def processed(processor: Processor, raw: Any) -> Item:
    """The item of an example, which may not be a medium that holds nothing for the encoder."""
    item = processor(raw)
    if not isinstance(item, Item):
        fail(f"the processor makes {type(item).__name__} of an example", remedy="return a2a_core.Item(tensors, length)")
    return item


def tokens_are_well_formed(subject: EncoderSubject) -> None:
    """The encoder gives Tokens: values (N, T, C) float, mask (N, T) bool, C being the module's `width`; finite, padding too."""
    module = subject.fresh()
    expect(
        isinstance(getattr(module, "width", None), int),
        "the module has no integer `width`",
        repr(getattr(module, "width", None)),
    )
    tokens = subject.encode(module, subject.items)
    values, mask, count = tokens.values, tokens.mask, len(subject.items)
    expect(
        values.dim() == 3 and values.shape[0] == count, f"values of {count} items must be (N, T, C)", str(tuple(values.shape))
    )
    expect(values.is_floating_point(), "values must be floating point", str(values.dtype))
    expect(mask.shape == values.shape[:2], "mask must be (N, T)", f"{tuple(mask.shape)} beside values {tuple(values.shape)}")
    expect(mask.dtype == torch.bool, "mask must be bool, true where real", str(mask.dtype), remedy="mask.bool()")
    expect(
        values.shape[2] == module.width,
        "the module's width is not that of its tokens",
        f"{module.width} against {values.shape[2]}",
    )
    expect(
        finite(values),
        "values are not finite (padding counts: 0 x NaN is NaN)",
        because="attention in which a row may see nothing: its softmax is NaN",
        remedy="let padded positions attend to themselves, or replace their values: values.masked_fill(~mask[..., None], 0)",
    )


def length_is_what_is_emitted(subject: EncoderSubject) -> None:
    """An item's `length` is the number of tokens that its encoder emits: placeholders and truncation count on it."""
    module = subject.fresh()
    together = subject.encode(module, subject.items).mask.sum(1).tolist()
    for index, item in enumerate(subject.items):
        alone = int(subject.encode(module, [item]).mask.sum())
        expect(
            alone == together[index] == item.length,
            f"example {index}: item.length is {item.length}, the encoder emits {alone} tokens, in a batch {together[index]}",
            because="a stride that rounds another way than the processor's formula, or special tokens that it forgot",
            remedy="compute both by one function",
        )


def padding_is_invisible(subject: EncoderSubject) -> None:
    """An item gives the same tokens alone as beside longer items, which pad it."""
    module = subject.lively()
    together = subject.encode(module, subject.items)
    for index, item in enumerate(subject.items):
        alone = subject.encode(module, [item])
        padding = together.values.shape[1] - item.length
        same(
            f"example {index} ({item.length} tokens) changes in a batch that pads it by {padding}",
            alone.values[0][alone.mask[0]],
            together.values[index][together.mask[index]],
            "a convolution, a pooling, a normalisation over time or attention that reads the padding",
            PADDING,
        )


def neighbours_are_invisible(subject: EncoderSubject) -> None:
    """An item gives the same tokens whatever stands beside it, in training too (dropout draws the same there)."""
    first, longest = subject.items[0], max(subject.items, key=lambda item: item.length)  # the shape of the batch stays
    one, other = ([first, neighbour, longest] for neighbour in subject.items[:2])
    for training, neighbours in ((False, other), (False, [first, longest, subject.items[1]]), (True, other)):
        module = subject.lively().train(training)
        with attempt(f"forward in {'training' if training else 'evaluation'} mode"):
            a, b = subject.encode(module, one), subject.encode(module, neighbours)
        same(
            f"example 0 changes when another item of its batch does ({'training' if training else 'evaluation'} mode)",
            a.values[0][a.mask[0]],
            b.values[0][b.mask[0]],
            "BatchNorm, or any statistic over the batch",
            "use LayerNorm, RMSNorm or GroupNorm; keep a pretrained BatchNorm frozen and, in train(), in evaluation mode",
        )


def missing_modality_is_invisible(subject: EncoderSubject) -> None:
    """A sample without this modality comes out the same alone, where the encoder runs on a dummy, as beside one that has it.

    Gradients stay finite and none is missing, so no rank waits for another's.
    """
    from a2a_core.builtin.pad import PadCollator

    reference = ReferenceEncoder()
    numbers = [reference.processor()(raw) for raw in reference.examples(subject.folder)]
    collate = PadCollator().build({"it": subject.processor, "other": reference.processor()}, {}, {})
    without = collate([sample(0, {"other": [numbers[0]]})])["inputs"]
    beside = sample(1, {"it": subject.items[:2], "other": [numbers[1]]})
    both = collate([sample(0, {"other": [numbers[0]]}), beside])["inputs"]
    model = enlivened(model_of(subject.whole())).train()
    present, absent = gradients(model, both), gradients(model, without)
    reached = [name for name, gradient in present.items() if gradient is not None]
    wrong = [name for name in reached if absent[name] is None or not finite(absent[name])]
    expect(
        not wrong,
        f"gradients that are missing or NaN in a batch without this modality: {listed(wrong)}",
        because="the dummy item makes NaN (a mean over no time, a normalisation of zeros), or a branch skips the parameter",
        remedy="make the dummy a real, short medium (silence, a black picture), and clamp before dividing",
    )
    model.eval()
    with torch.no_grad():
        alone, together = (model(inputs).outputs["head"]["values"][0] for inputs in (without, both))
    same(
        "a sample without this modality changes beside one that has it",
        alone,
        together,
        "the dummy's or a neighbour's tokens reach it: NaN times 0, or a statistic over the batch",
        "keep items apart; see neighbours_are_invisible",
    )


def gradients(model: Any, inputs: Any) -> dict[str, Tensor | None]:
    """What the encoder's parameters get from a batch."""
    model.zero_grad()
    with attempt(f"forward and backward of {inputs['size']} samples in training mode"):
        result = model(inputs)
        torch.autograd.backward(result.outputs["head"]["values"].sum() + result.anchor)
    return {name: parameter.grad for name, parameter in model.encoders["it"].named_parameters()}


def frozen_stays_unchanged(subject: EncoderSubject) -> None:
    """With `freeze = true` a training step changes nothing of the encoder, buffers included."""
    model = enlivened(model_of(subject.whole(freeze=True))).train()
    encoder = model.encoders["it"]
    before = {name: tensor.clone() for name, tensor in state(encoder).items()}
    row = torch.arange(len(subject.items))
    media = {"tensors": subject.pad(subject.items), "row": row, "slot": torch.zeros_like(row), "slots": 1}
    reference = ReferenceEncoder().processor()
    other = {"tensors": reference.pad([reference.dummy()]), "row": row[:0], "slot": row[:0], "slots": 1}
    result = model({"size": len(subject.items), "it": media, "other": other})
    torch.autograd.backward(result.outputs["head"]["values"].sum() + result.anchor)
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    changed = [name for name, tensor in state(encoder).items() if not torch.equal(tensor, before[name])]
    expect(
        not changed,
        f"with freeze = true, a training step changes {listed(changed)}",
        because="forward or train() that turns requires_grad or training mode on again; running statistics",
        remedy="leave both to the model, which turns them off for a frozen encoder",
    )


def model_of(parts: dict[str, Any]) -> Any:
    """A whole model."""
    from a2a_core.model import A2AConfig, A2AModel
    from a2a_core.recipe import Parts

    with seeded(), attempt("a model with this encoder"):
        return A2AModel(A2AConfig(), Parts(**parts))


CHECKS = (
    tokens_are_well_formed,
    length_is_what_is_emitted,
    padding_is_invisible,
    neighbours_are_invisible,
    missing_modality_is_invisible,
    frozen_stays_unchanged,
    *MODULES,
)
