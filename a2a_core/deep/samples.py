"""The first real rows through processors and collator: what the model would be given, and what it would learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from a2a_core.data import BadRow, Collate, Prepared, Streamed
from a2a_core.deep.report import SampleRow, SplitBatch
from a2a_core.errors import Problem
from a2a_core.generation import text_heads
from a2a_core.mistakes import Problems
from a2a_core.streams import JUDGED_OVER
from a2a_core.structures import Batch, Item, Processor, Sample, Text

if TYPE_CHECKING:
    from a2a_core.recipe import Parts


def described(split: str, samples: Sequence[Sample | BadRow], parts: Parts) -> list[SampleRow]:
    """Each sample in words."""
    return [describe(split, sample, parts) for sample in samples]


def describe(split: str, sample: Sample | BadRow, parts: Parts) -> SampleRow:
    """One sample: tokens by encoder, targets by head."""
    row = sample.row
    if isinstance(sample, BadRow):
        return SampleRow(split, row.id, row.place, {}, {}, sample.reason)
    targets = {key: parts.heads[key].describe(target) for key, target in sample.targets.items() if target is not None}
    tokens = {key: sum(counts) for key, counts in lengths(sample, parts).items()}
    if sample.text is not None:
        tokens["text"] = sample.text.length - sum(len(places) for places in sample.text.media.values())
        written = to_be_written(sample.text, parts)
        targets |= dict.fromkeys(text_heads(parts), written) if written else {}
    return SampleRow(split, row.id, row.place, tokens, targets)


def to_be_written(text: Text, parts: Parts) -> str:
    """What of a text is supervised, each stretch in quotes."""
    processor = parts.fusion.processor()
    stretches: list[list[int]] = [[]]
    for token, weight in zip(text.ids.tolist(), text.weights.tolist(), strict=True):
        if weight > 0:
            stretches[-1].append(token)
        elif stretches[-1]:
            stretches.append([])
    return " … ".join(repr(processor.tokenizer.decode(each)) for each in stretches if each) if processor else ""


def lengths(sample: Sample, parts: Parts) -> dict[str, list[int]]:
    """By encoder, each item's tokens as the fusion gets them."""
    found: dict[str, list[int]] = {}
    for key, items in sample.items.items():
        projector = parts.projector(key)
        found[key] = [item.length if projector is None else projector.length(item.length) for item in items]
    return found


def counted(batch: Batch, parts: Parts, problems: Problems) -> dict[str, float]:
    """What each term of each loss counts in a batch; needs no model."""
    found: dict[str, float] = {}
    for key, loss in parts.losses.items():
        with problems.kept(f"losses.{key}"):
            module: Any = loss.build(parts.heads[loss.head])
            counts = module.count(batch["inputs"], batch["targets"].get(loss.head, {}))
            found |= {f"{key}/{term}": float(count) for term, count in counts.items()}
    return found


def padding(samples: Sequence[Sample], parts: Parts) -> dict[str, float]:
    """By encoder: the share of positions that hold no token, beside the longest item of the batch."""
    every: dict[str, list[int]] = {key: [] for key in parts.encoders}
    for sample in samples:
        for key, counts in lengths(sample, parts).items():
            if key in every:  # what a fusion reads itself lies as it likes
                every[key] += counts
    return {key: 1 - sum(counts) / (len(counts) * max(counts)) for key, counts in every.items() if any(counts)}


def batched(
    split: str,
    data: Prepared | Streamed,
    samples: Sequence[Sample | BadRow],
    collate: Collate,
    parts: Parts,
    problems: Problems,
) -> tuple[SplitBatch, Batch | None]:
    """The samples as one batch, and what it holds; None where no row is good."""
    good = [sample for sample in samples if isinstance(sample, Sample)]
    rows = None if isinstance(data, Streamed) else len(data)
    if not good:
        problems.add([unreadable(split, samples)])
        return SplitBatch(split, rows, {}, {}), None
    with problems.kept("collator"):
        batch = collate(good)
        share(batch, good, collate)
        batch["alike"] = alike(good, parts)
        return SplitBatch(split, rows, counted(batch, parts, problems), padding(good, parts)), batch
    return SplitBatch(split, rows, {}, padding(good, parts)), None


MANY = 4096
"""Rows that are put together to see how many share a place."""


def share(batch: Batch, samples: Sequence[Sample], collate: Collate) -> None:
    """Where rows share places: how many do (`together`), and how `long` each of them is when they fill them."""
    lengths = [sample.text.length for sample in samples if sample.text is not None]
    if collate.group is None or not lengths:
        return
    several = lengths * (MANY // len(lengths))
    groups = [group for group in collate.group(several) if group]
    rows = sum(map(len, groups))
    if rows:
        batch["together"] = max(1, round(rows / len(groups)))
        batch["long"] = -(-sum(several[row] for group in groups for row in group) // (len(groups) * batch["together"]))


def alike(samples: Sequence[Sample], parts: Parts) -> dict[str, Callable[[int], tuple[dict[str, Any], int]]]:
    """By medium that the fusion reads itself: as many items as its longest as asked for, padded, and their tokens.

    How such items lie in a batch is between fusion and processor: it cannot be scaled.
    """

    def of(processor: Processor, longest: Item) -> Callable[[int], tuple[dict[str, Any], int]]:
        return lambda count: (processor.pad([longest] * max(count, 1)), count * longest.length)

    found = {}
    for key, medium in parts.fusion.media().items():
        items = [item for sample in samples for item in sample.items.get(key, ())]
        found[key] = of(medium.processor, max(items, key=lambda item: item.length, default=medium.processor.dummy()))
    return found


def unreadable(split: str, samples: Sequence[Sample | BadRow]) -> Problem:
    """No row of the first ones can be read."""
    first = next(sample for sample in samples if isinstance(sample, BadRow))
    text = f"none of the first {len(samples)} rows of `{split}` can be read"
    return Problem(f"{text}; {first.row.place} (id {first.row.id}): {first.reason}")


def refuse_bad(
    split: str, data: Prepared | Streamed, samples: Sequence[Sample | BadRow], limit: float, problems: Problems
) -> None:
    """Bad rows among the first ones that are more already than the whole split may have."""
    bad = [sample for sample in samples if isinstance(sample, BadRow) and sample.kind != "left out"]
    if len(bad) > limit * (JUDGED_OVER if isinstance(data, Streamed) else len(data)) and len(bad) < len(samples):
        text = f"{len(bad)} of the first {len(samples)} rows of `{split}` are bad, more than `bad_rows` = {limit:g} allows"
        problems.add(Problem(f"{sample.row.place} (id {sample.row.id}): {sample.reason}") for sample in bad)
        problems.add([Problem(text)], f"data.{split}")


def longest(samples: Sequence[Sample], parts: Parts) -> dict[str, int]:
    """By encoder, the tokens of the longest item, of those that share its weights too, as it should emit them."""
    found: dict[str, int] = {}
    for sample in samples:
        for key, items in sample.items.items():
            owner = parts.owner(key)
            found[owner] = max([found.get(owner, 1), *(item.length for item in items)])
    return found


def misplaced(samples: Sequence[Sample], emitted: Mapping[str, int], parts: Parts) -> list[Problem]:
    """Items that say they become more tokens than their encoder emits at most; one an encoder."""
    found = {}
    for sample in samples:
        for key, items in sample.items.items():
            most = max((item.length for item in items), default=0)
            there = emitted.get(parts.owner(key), most)
            if most > there:
                text = f"{sample.row.place} (id {sample.row.id}): its item says {most} tokens, the encoder emits {there}"
                found[key] = Problem(f"encoder `{key}`: {text}", hint="its processor's `Item.length` is wrong")
    return list(found.values())


def beyond(longest: Mapping[str, int], emitted: Mapping[str, int]) -> list[str]:
    """Positions that no item asks for: padding by right, and without values nobody can see whether it is masked."""
    return [
        f"whether the {positions - longest[key]} positions that `encoders.{key}` emits beyond its longest item "
        f"({longest[key]} tokens) are masked"
        for key, positions in emitted.items()
        if key in longest and positions > longest[key]
    ]
