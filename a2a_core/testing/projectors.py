"""Invariants of projectors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from a2a_core.components import ProjectorConfig
from a2a_core.structures import Tokens
from a2a_core.testing.check import attempt, expect, fail
from a2a_core.testing.compare import finite, numbers, same, seeded
from a2a_core.testing.modules import MODULES
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion
from a2a_core.testing.subject import ModuleSubject

WIDTH, OUT = 16, 32
LENGTHS = (16, 4, 36, 16)
"""Squares of even numbers, which suit projectors that look at a picture's grid too."""


class ProjectorSubject(ModuleSubject[ProjectorConfig]):
    """A projector from 16 to 32 channels, and the tokens of four items."""

    def make(self) -> Any:
        """Build it."""
        return self.config.build(WIDTH, OUT)

    def whole(self) -> dict[str, Any]:
        """Between a reference encoder and a reference fusion."""
        encoders = {"it": ReferenceEncoder(width=WIDTH)}
        return {"encoders": encoders, "projectors": {"it": self.config}, "fusion": ReferenceFusion(width=OUT)}

    def item(self, index: int) -> Tensor:
        """Tokens of one item (T, C)."""
        return numbers(LENGTHS[index], WIDTH, seed=index)

    def tokens(self, *indices: int) -> Tokens:
        """Some items, padded; the padding holds numbers that must not matter."""
        longest = max(LENGTHS[index] for index in indices)
        values = 10 * numbers(len(indices), longest, WIDTH, seed=99)
        mask = torch.zeros(len(indices), longest, dtype=torch.bool)
        for place, index in enumerate(indices):
            values[place, : LENGTHS[index]] = self.item(index)
            mask[place, : LENGTHS[index]] = True
        return Tokens(values, mask, torch.arange(len(indices)), torch.zeros(len(indices), dtype=torch.long), 1)

    def arguments(self) -> tuple[Any, ...]:
        """All items."""
        return (self.tokens(*range(len(LENGTHS))),)

    def project(self, module: Any, *indices: int) -> Tokens:
        """Projected tokens of some items, without gradients."""
        with torch.no_grad(), seeded(), attempt(f"forward of {len(indices)} items"):
            result = module(self.tokens(*indices))
        if not isinstance(result, Tokens):
            fail(f"forward returns {type(result).__name__}", remedy="return tokens._replace(values=..., mask=...)")
        return result


def length_is_what_is_emitted(subject: ProjectorSubject) -> None:
    """Of n real tokens it makes `length(n)`, alone and padded: placeholders and truncation count on it."""
    module = subject.fresh()
    together = subject.project(module, *range(len(LENGTHS))).mask.sum(1).tolist()
    for index, tokens in enumerate(LENGTHS):
        with attempt(f"length({tokens})"):
            said = subject.config.length(tokens)
        alone = int(subject.project(module, index).mask.sum())
        expect(
            said == alone == together[index],
            f"length({tokens}) is {said}, but it emits {alone} tokens of an item alone and {together[index]} of a padded one",
            because="the mask is passed on unchanged, or the length rounds another way than the stride",
            remedy="shorten the mask as the values are shortened, and override length()",
        )


def tokens_are_well_formed(subject: ProjectorSubject) -> None:
    """Values (N, length(T), out) float and finite, mask (N, length(T)) bool; `row`, `slot` and `slots` pass through."""
    given = subject.tokens(*range(len(LENGTHS)))
    tokens = subject.project(subject.fresh(), *range(len(LENGTHS)))
    wanted = (len(LENGTHS), subject.config.length(max(LENGTHS)), OUT)
    expect(tokens.values.shape == wanted, f"values must be (N, length(T), out) = {wanted}", str(tuple(tokens.values.shape)))
    expect(tokens.mask.shape == wanted[:2], f"mask must be (N, length(T)) = {wanted[:2]}", str(tuple(tokens.mask.shape)))
    expect(tokens.mask.dtype == torch.bool, "mask must be bool", str(tokens.mask.dtype))
    expect(finite(tokens.values), "values are not finite (padding counts: 0 x NaN is NaN)")
    expect(
        place(tokens) == place(given),
        "row, slot or slots of the tokens got lost",
        remedy="return tokens._replace(values=..., mask=...)",
    )


def place(tokens: Tokens) -> tuple[Any, ...]:
    """Where the items belong."""
    return *(None if tensor is None else tensor.tolist() for tensor in (tokens.row, tokens.slot)), tokens.slots


def padding_is_invisible(subject: ProjectorSubject) -> None:
    """An item gives the same tokens alone as beside longer items, whatever the padding holds."""
    module = subject.lively()
    together = subject.project(module, *range(len(LENGTHS)))
    for index, length in enumerate(LENGTHS):
        alone = subject.project(module, index)
        same(
            f"an item of {length} tokens changes beside {max(LENGTHS) - length} positions of padding",
            alone.values[0][alone.mask[0]],
            together.values[index][together.mask[index]],
            "queries, a convolution or a pooling that reads the padding",
            "values.masked_fill(~mask[..., None], 0) before a convolution or a sum; attn_mask in attention",
        )


def neighbours_are_invisible(subject: ProjectorSubject) -> None:
    """An item gives the same tokens whatever stands beside it, in training too."""
    for training in (False, True):
        module = subject.lively().train(training)
        one, other = subject.project(module, 0, 1, 2), subject.project(module, 0, 3, 2)
        same(
            f"item 0 changes when another item of its batch does ({'training' if training else 'evaluation'} mode)",
            one.values[0][one.mask[0]],
            other.values[0][other.mask[0]],
            "BatchNorm, or any statistic over the batch",
            "use LayerNorm, RMSNorm or GroupNorm",
        )


CHECKS = (length_is_what_is_emitted, tokens_are_well_formed, padding_is_invisible, neighbours_are_invisible, *MODULES)
