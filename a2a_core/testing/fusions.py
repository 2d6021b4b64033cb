"""Invariants of fusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from a2a_core.components import FusionConfig
from a2a_core.structures import Fused, Tokens
from a2a_core.testing.check import NotApplicable, attempt, expect, fail
from a2a_core.testing.compare import enlivened, finite, mapped, numbers, same, seeded, weighted_sum
from a2a_core.testing.every import references
from a2a_core.testing.modules import MODULES, listed
from a2a_core.testing.reference import ReferenceEncoder
from a2a_core.testing.subject import ModuleSubject

WIDTHS = {"image": 16, "audio": 24}
"""What the encoders make; the fusion gets its own `input_width` where it has one."""

Media = Mapping[str, Sequence[int]]
"""A sample: modality -> tokens of each of its items."""

BOTH: Media = {"image": [3], "audio": [5]}
SEVERAL: Media = {"image": [4, 2], "audio": [7]}
SEEN: Media = {"image": [6], "audio": []}
HEARD: Media = {"image": [], "audio": [2]}
NOTHING: Media = {"image": [], "audio": []}
LONGEST: Media = {"image": [7, 7], "audio": [7]}
NEIGHBOURS: tuple[Media, Media] = {"image": [3, 2], "audio": [5]}, {"image": [5, 4], "audio": [2]}
ALL = (BOTH, SEVERAL, SEEN, HEARD)
MASKS = "keep samples apart and honour every mask: attn_mask in attention, masked sums for means"


class FusionSubject(ModuleSubject[FusionConfig]):
    """A fusion of pictures (16 channels) and sounds (24)."""

    @cached_property
    def named(self) -> list[str]:
        """Encoders that the options name (`query = "sound"`): they must be there."""
        return sorted(name for table, name in references(self.config) if table == "encoders")

    @cached_property
    def names(self) -> dict[str, str]:
        """What the pictures' and the sounds' encoders are called."""
        others = [key for key in WIDTHS if key not in self.named]
        return dict(zip(WIDTHS, [*self.named, *others], strict=False))

    @cached_property
    def widths(self) -> dict[str, int]:
        """The encoders' own; NotApplicable for a fusion that has none."""
        if self.config.media():
            raise NotApplicable("it reads media of its own (media()), which the kit cannot make up")
        widths = dict.fromkeys(self.named, 16)
        return widths | {self.names[key]: width for key, width in WIDTHS.items()}

    def make(self) -> Any:
        """Build it for both modalities."""
        return self.config.build(self.widths)

    def arguments(self) -> tuple[Any, ...]:
        """Four samples: with both modalities, with several pictures, without sound, without a picture."""
        return self.batch(self.fresh(), ALL)

    def whole(self) -> dict[str, Any]:
        """Behind reference encoders."""
        encoders = {key: ReferenceEncoder(width=width) for key, width in self.widths.items()}
        return {"encoders": encoders, "fusion": self.config.resolved()}

    def batch(
        self, module: Any, samples: Sequence[Media], widths: Mapping[str, int] | None = None
    ) -> tuple[dict[str, Tokens], dict[str, Any]]:
        """What the model gives a fusion; an encoder that its options name beyond two has items where pictures have."""
        further = set(self.widths) - set(self.names.values())
        called = [
            {self.names[key]: lengths for key, lengths in media.items()} | dict.fromkeys(further, media.get("image", ()))
            for media in samples
        ]
        encoded, inputs = batch(module, widths or self.widths, called)
        if self.config.reads_text:
            inputs["text"] = texts(int(module.vocabulary), list(widths or self.widths), called)
        return encoded, inputs

    def forward(self, module: Any, *arguments: Any) -> Any:
        """Call it, and make logits where it lends the way."""
        fused = module(*arguments)
        lent = isinstance(fused, Fused) and fused.unembed is not None and fused.hidden is not None
        return (fused, fused.unembed(fused.hidden)) if lent else fused

    def fuse(self, module: Any, *samples: Media, widths: Mapping[str, int] | None = None) -> Fused:
        """The fusion of some samples, without gradients."""
        with torch.no_grad(), seeded(), attempt(f"forward of {len(samples)} samples"):
            result = module(*self.batch(module, samples, widths))
        if not isinstance(result, Fused):
            fail(f"forward returns {type(result).__name__}", remedy="return a2a_core.Fused(size, tokens, pooled, parts)")
        return result


def item(key: str, length: int, width: int) -> Tensor:
    """Tokens of one item (T, C), always the same for the same modality and length."""
    return numbers(length, width, seed=10 * length + 1000 * sum(map(ord, key)))


def batch(module: Any, widths: Mapping[str, int], samples: Sequence[Media]) -> tuple[dict[str, Tokens], dict[str, Any]]:
    """What the model gives a fusion: each encoder's tokens of its items, none where the batch lacks the modality."""
    encoded: dict[str, Tokens] = {}
    inputs: dict[str, Any] = {"size": len(samples)}
    for key, own in widths.items():
        width = own if module.input_width is None else int(module.input_width)
        media = [(row, slot, length) for row, each in enumerate(samples) for slot, length in enumerate(each.get(key, ()))]
        longest = max((length for _, _, length in media), default=1)
        values = 10 * numbers(len(media), longest, width, seed=99)  # what padding holds must not matter
        mask = torch.zeros(len(media), longest, dtype=torch.bool)
        for place, (_, _, length) in enumerate(media):
            values[place, :length], mask[place, :length] = item(key, length, width), True
        row = torch.tensor([row for row, _, _ in media], dtype=torch.long)
        slot = torch.tensor([slot for _, slot, _ in media], dtype=torch.long)
        slots = 1 + max((slot for _, slot, _ in media), default=0)
        encoded[key] = Tokens(values, mask, row, slot, slots)
        inputs[key] = {"tensors": {}, "row": row, "slot": slot, "slots": slots}
    return encoded, inputs


def texts(vocabulary: int, keys: Sequence[str], samples: Sequence[Media]) -> dict[str, Any]:
    """Each sample's text: three tokens, its media's, two tokens."""
    positions: list[Tensor] = []
    lengths: list[int] = []
    places: dict[str, list[int]] = {key: [] for key in keys}
    for sample in samples:
        begin = sum(lengths)
        length = 3
        for key in keys:
            several = sum(sample.get(key, ()))
            places[key] += range(begin + length, begin + length + several)
            length += several
        lengths.append(length + 2)
        positions.append(torch.arange(length + 2))
    return {
        "ids": torch.cat(positions) % vocabulary,
        "positions": torch.cat(positions),
        "lengths": lengths,
        "media": {key: torch.tensor(each, dtype=torch.long) for key, each in places.items()},
    }


def of_sample(fused: Fused, index: int) -> dict[str, Tensor]:
    """What a fusion makes of one sample: the real tokens, in order, and the pooled vector."""
    found = {} if fused.pooled is None else {"pooled": fused.pooled[index]}
    parts = {f"parts.{key}": part.by_sample(fused.size) for key, part in fused.parts.items()}
    for name, tokens in {"tokens": fused.tokens, **parts}.items():
        if tokens is not None:
            found[name] = tokens.values[index][tokens.mask[index]]
    return found


def agree(what: str, alone: Fused, together: Fused, index: int, because: str) -> None:
    """The first sample of one batch comes out as sample `index` of another."""
    got = of_sample(together, index)
    for name, tensor in of_sample(alone, 0).items():
        same(f"{what} (`{name}`)", tensor, got[name], because, MASKS)


def fused_is_well_formed(subject: FusionSubject) -> None:
    """`pooled` (B, width); `tokens` (B, T, width) with a bool mask (B, T); `parts` by sample; all finite."""
    module = subject.fresh()
    fused, size, width = subject.fuse(module, *ALL), len(ALL), module.width
    expect(fused.size == size, f"size must be the number of samples, {size}", str(fused.size))
    if fused.pooled is not None:
        expect(
            fused.pooled.shape == (size, width),
            f"pooled must be (B, width) = ({size}, {width})",
            str(tuple(fused.pooled.shape)),
        )
    for name, tokens in {"tokens": fused.tokens, **{f"parts[{key!r}]": part for key, part in fused.parts.items()}}.items():
        if tokens is None:
            continue
        shape = tuple(tokens.values.shape)
        expect(len(shape) == 3, f"{name}.values must have three dimensions", str(shape))
        expect(
            name != "tokens" or shape[::2] == (size, width),
            f"tokens.values must be (B, T, width) = ({size}, T, {width})",
            str(shape),
        )
        expect(tokens.mask.shape == shape[:2], f"{name}.mask must be {shape[:2]}", str(tuple(tokens.mask.shape)))
        expect(tokens.mask.dtype == torch.bool, f"{name}.mask must be bool", str(tokens.mask.dtype))
    known = getattr(module, "parts", {})
    stray = sorted(fused.parts.keys() - {*subject.widths, *(known if isinstance(known, (dict, list, tuple, set)) else ())})
    expect(not stray, f"parts has {listed(stray)}, which no encoder and no `module.parts` names")
    expect(
        finite([fused.pooled, *(tokens.values for tokens in (fused.tokens, *fused.parts.values()) if tokens is not None)]),
        "what comes out is not finite (padding counts: 0 x NaN is NaN)",
        because="attention over nothing but masked tokens, for a sample without this modality",
        remedy="let something always be seen, or replace the result: torch.where(mask.any(1), x, 0)",
    )


def padding_is_invisible(subject: FusionSubject) -> None:
    """A sample comes out the same alone as beside samples with longer and more items, which pad it."""
    module = subject.lively()
    together = subject.fuse(module, *ALL)
    for index, media in enumerate(ALL):
        agree(
            f"sample {index} ({dict(media)} tokens an item) changes beside longer ones",
            subject.fuse(module, media),
            together,
            index,
            "a mean over all positions, attention without mask, or positions counted over the padding",
        )


def neighbours_are_invisible(subject: FusionSubject) -> None:
    """A sample comes out the same whatever stands beside it, in training too (dropout draws the same there)."""
    for training in (False, True):
        module = subject.lively().train(training)
        one, other = ((BOTH, neighbour, LONGEST) for neighbour in NEIGHBOURS)  # the shape of the batch stays
        what = f"sample 0 changes when another sample does ({'training' if training else 'evaluation'} mode)"
        agree(what, subject.fuse(module, *one), subject.fuse(module, *other), 0, "BatchNorm, or any statistic over the batch")


def missing_modality_is_invisible(subject: FusionSubject) -> None:
    """A sample without sound comes out the same in a batch without any sound as beside samples that have it."""
    module = subject.lively()
    for media, other in ((SEEN, HEARD), (HEARD, SEEN)):
        key = next(key for key, lengths in media.items() if not lengths)
        what = f"a sample without {key} changes beside one that has it"
        agree(
            what, subject.fuse(module, media), subject.fuse(module, media, other, BOTH), 0, "an absent modality counts as zeros"
        )


def absent_modality_keeps_gradients(subject: FusionSubject) -> None:
    """In a batch without any sound every parameter still gets a gradient, 0 where nothing reaches it, and all are finite.

    A parameter without one makes ranks wait for each other for ever.
    """
    for samples in ((SEEN, SEEN), (HEARD,), (NOTHING,)):
        module = subject.lively()
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise NotApplicable("nothing in it is trained")
        encoded, inputs = subject.batch(module, samples)
        encoded = mapped(encoded, lambda tensor: tensor.requires_grad_() if tensor.is_floating_point() else tensor)
        with attempt(f"forward and backward of {[dict(media) for media in samples]}"):
            torch.autograd.backward(weighted_sum(subject.forward(module, encoded, inputs)))
        missing = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
        expect(
            not missing,
            f"parameters without any gradient (None) in a batch of {dict(samples[0])}: {listed(missing)}",
            because="a branch: `if key in encoded`, `if mask.any()`",
            remedy="run every layer whatever the batch holds, and mask its result",
        )
        broken = [name for name, p in module.named_parameters() if p.grad is not None and not finite(p.grad)]
        expect(
            not broken,
            f"gradients that are NaN or infinite in a batch of {dict(samples[0])}: {listed(broken)}",
            because="a softmax over masked tokens alone, or a mean of nothing, though its result is masked afterwards",
            remedy="let something always be seen (a bottleneck, a learned token); clamp(min=1) before dividing",
        )


def a_sample_of_nothing_is_finite(subject: FusionSubject) -> None:
    """A sample that has no item at all comes out finite, and changes nothing for its neighbours.

    The data layer puts such a sample in the place of a batch whose every row was bad.
    """
    module = subject.lively()
    alone, together = subject.fuse(module, NOTHING), subject.fuse(module, BOTH, NOTHING)
    for fused in (alone, together):
        expect(
            finite([fused.pooled, fused.tokens]),
            "a sample without any item comes out as NaN or infinity",
            because="attention over nothing, or a mean of nothing",
            remedy="clamp(min=1) before dividing; let a learned token always be seen",
        )
    agree("a sample changes beside one without any item", subject.fuse(module, BOTH), together, 0, "a statistic over the batch")


def single_encoder_works(subject: FusionSubject) -> None:
    """It builds and runs for one encoder alone."""
    for key in WIDTHS:
        name = subject.names[key]
        if not {name} >= set(subject.named):
            continue
        widths = {name: subject.widths[name]}
        with attempt(f"build() for {name} alone"), seeded():
            module = enlivened(subject.config.build(widths).eval())
        alone = subject.fuse(module, {key: [5]}, widths=widths)
        together = subject.fuse(module, {key: [5]}, {key: [3, 6]}, widths=widths)
        agree(f"{name} alone: a sample changes beside a longer one", alone, together, 0, "see padding_is_invisible")


def every_item_counts(subject: FusionSubject) -> None:
    """Each item of a sample changes what comes out: the second picture is not dropped, nor a whole modality."""
    module = subject.lively()
    whole = of_sample(subject.fuse(module, SEVERAL), 0)
    for name, fewer in (
        ("its second picture", {"image": [4], "audio": [7]}),
        ("its sound", {"image": [4, 2]}),
        ("its pictures", {"audio": [7]}),
    ):
        less = of_sample(subject.fuse(module, fewer), 0)
        unchanged = all(
            tensor.shape == less[key].shape and torch.allclose(tensor, less[key], 1e-5, 1e-6) for key, tensor in whole.items()
        )
        expect(
            not unchanged,
            f"a sample comes out the same without {name}",
            because="only slot 0 of each sample is read, or one modality's layers lead nowhere",
            remedy="tokens.by_sample(size) puts all items of a sample side by side",
        )


CHECKS = (
    fused_is_well_formed,
    padding_is_invisible,
    neighbours_are_invisible,
    missing_modality_is_invisible,
    absent_modality_keeps_gradients,
    a_sample_of_nothing_is_finite,
    single_encoder_works,
    every_item_counts,
    *MODULES,
)
