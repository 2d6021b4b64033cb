"""What crosses the borders between parts: NamedTuples and dicts only, because DDP and FSDP2 see into nothing else.

N counts items (one picture, one sound), B samples, T tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, Any]
"""{"inputs": {"size": B, <encoder>: {"tensors", "row", "slot", "slots"}, …}, "targets": {<head>: {name: tensor}}, "ids"}"""


ROUNDED = 1.0
"""Seconds by which people who mark segments overshoot the end of a recording."""


class Row(NamedTuple):
    """One row of a source, raw: its fields, and where relative paths in them start."""

    fields: Mapping[str, Any]
    id: str
    root: Path
    place: str
    """`train.jsonl:17`, for messages."""


class Segment(NamedTuple):
    """A stretch of a recording, in seconds from its beginning; what a processor is given where a row names one."""

    medium: Any
    start: float = 0.0
    end: float | None = None
    """None: to the recording's end."""

    def within(self, duration: float) -> tuple[float, float]:
        """Start and end in a recording of so many seconds; ValueError where it has no such stretch.

        An end up to `ROUNDED` seconds past the recording's own is a rounded one, and cut.
        """
        end = duration if self.end is None else self.end
        if self.start >= duration or end > duration + ROUNDED:
            asked = f"from {self.start:g} s" + ("" if self.end is None else f" to {self.end:g} s")
            how = "lies" if self.start >= duration else "reaches"
            raise ValueError(f"the segment {asked} {how} past the end of the recording, which lasts {duration:.3f} s")
        return self.start, min(end, duration)


class Item(NamedTuple):
    """One processed medium: tensors without a batch dimension, and the number of tokens its encoder will make of it."""

    tensors: dict[str, Tensor]
    length: int


class Sample(NamedTuple):
    """One row, processed: 0..n items for each encoder, and each head's encoded target (None: not labelled)."""

    row: Row
    items: Mapping[str, Sequence[Item]]
    targets: Mapping[str, Any]


class Tokens(NamedTuple):
    """Tokens of N items: values (N, T, C), mask (N, T) bool, true where real.

    `row` (N,) is the sample that an item belongs to, `slot` (N,) which of the sample's items it is, `slots` the most items
    that a sample of this batch has. Without `row`, item n belongs to sample n.
    """

    values: Tensor
    mask: Tensor
    row: Tensor | None = None
    slot: Tensor | None = None
    slots: int = 1

    def by_sample(self, size: int) -> Tokens:
        """One row a sample, (B, slots * T, C): a sample's items side by side, nothing where it has none."""
        if self.row is None or self.slot is None:
            return self
        _, length, width = self.values.shape
        values = self.values.new_zeros(size, self.slots, length, width).index_put((self.row, self.slot), self.values)
        mask = self.mask.new_zeros(size, self.slots, length).index_put((self.row, self.slot), self.mask)
        return Tokens(values.flatten(1, 2), mask.flatten(1, 2))

    def in_order(self) -> Tensor:
        """All tokens, (N * T, C), the real ones first and in order. The shape is static: no synchronisation, works on meta."""
        import torch

        hidden = (~self.mask.flatten()).to(torch.uint8)
        return self.values.flatten(0, 1)[hidden.argsort(stable=True)]


class Widths(NamedTuple):
    """What a head may build on: the fused width, each modality's width, the vocabulary; None where there is none."""

    width: int | None
    parts: Mapping[str, int]
    vocabulary: int | None = None


class Fused(NamedTuple):
    """What a fusion makes of the encoders' tokens.

    `tokens` by sample (B, T, C); `pooled` (B, C); `parts` each modality's tokens; `unembed` hidden states -> logits where
    the fusion owns a vocabulary. None where a fusion has no such thing. `encoded` is the model's to add: what the fusion was
    given, each encoder's tokens by item, before any modality saw another.
    """

    size: int
    tokens: Tokens | None = None
    pooled: Tensor | None = None
    parts: Mapping[str, Tokens] = {}
    unembed: Callable[[Tensor], Tensor] | None = None
    encoded: Mapping[str, Tokens] = {}


class Output(NamedTuple):
    """One forward pass: each head's tensors, each term's total (`<loss>/<term>`), and a zero that touches every part."""

    outputs: dict[str, dict[str, Tensor]]
    totals: dict[str, Tensor]
    anchor: Tensor


class Processor(Protocol):
    """Raw medium -> Item. Picklable, knows no batch; raises ValueError for a medium that it cannot read."""

    deterministic: bool

    def __call__(self, raw: Any) -> Item | None:
        """Process one medium: a path, bytes, or what the modality calls raw; of a RecordingConfig, a Segment of one too.

        None where the medium holds nothing of the modality, and the recipe says that this is fine: no item of this row.
        """

    def pad(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Items, at least one, as tensors with dimension 0 = items; the names are the encoder's forward arguments."""

    def dummy(self) -> Item:
        """A finite item, as short as may be, for batches in which the modality is absent."""


class TargetProcessor(Protocol):
    """A row's label -> what a head's losses compare with. Picklable."""

    def __call__(self, fields: Mapping[str, Any]) -> Any:
        """Encode one row's target, None when the row has none; ValueError when it is wrong (out of range, NaN)."""

    def pad(self, targets: Sequence[Any]) -> dict[str, Tensor]:
        """Encoded targets as tensors with dimension 0 = samples; None becomes what the losses ignore."""


class Plan(NamedTuple):
    """What a trainer holds at once, as far as memory and arithmetic go."""

    batch_size: int = 8
    """Rows of an optimizer step, over all ranks."""
    micro_batch: int = 0
    """Rows a rank takes at once; 0: all of its share."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """Arithmetic of forward and backward, by autocast; weights are float32."""
    gradient_checkpointing: bool = False
