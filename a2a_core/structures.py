"""What crosses the borders between parts: NamedTuples and dicts only, because DDP and FSDP2 see into nothing else.

N counts items (one picture, one sound), B samples, T tokens, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Batch = dict[str, Any]
"""{"inputs": {"size": B, <encoder>: {"tensors", "row", "slot", "slots"}, …}, "targets": {<head>: {name: tensor}}, "ids"}

Where a collator reads text, `inputs["text"]` has the samples' texts one behind the other, T tokens in all: `ids` (T,),
`positions` (T,) that start at 0 in each, `lengths`, a list of B numbers that add up to T, and `media`, encoder -> places (P,)
of its items' tokens, in order.
"""


ROUNDED = 1.0
"""Seconds by which people who mark segments overshoot the end of a recording."""


class Row(NamedTuple):
    """One row of a source, raw: its fields, and where relative paths in them start."""

    fields: Mapping[str, Any]
    id: str
    root: Path
    place: str
    """`train.jsonl:17`, for messages."""


class BadRow(NamedTuple):
    """A row that is not used: it could not be processed, the recipe leaves such rows out, or lets no run go on with one."""

    row: Row
    reason: str
    kind: Literal["bad", "left out", "unwanted"] = "bad"


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


class Medium(NamedTuple):
    """How the items of an encoder, or of a fusion that reads media itself, are read from a row."""

    field: str
    file: bool
    processor: Processor
    start: str = ""
    end: str = ""
    """The row's fields that bound a segment of it."""
    modality: str = ""


class Span(NamedTuple):
    """A stretch of a row's text, tokens `start` to `end` (not included): who speaks there, and what it is marked as."""

    start: int
    end: int
    role: str
    tag: str = ""


class Text(NamedTuple):
    """A row's text as T tokens, a medium's own tokens among them.

    `ids` (T,) int64, in a medium's places any id; `weights` (T,) float32, how much a token counts as one to be predicted, 0
    not at all; `media` encoder -> places (P,) int64 of its items' tokens, in order.
    """

    ids: Tensor
    weights: Tensor
    media: Mapping[str, Tensor] = {}
    spans: Sequence[Span] = ()

    @property
    def length(self) -> int:
        """T."""
        return len(self.ids)


class Sample(NamedTuple):
    """One row, processed: 0..n items for each encoder, each head's encoded target (None: not labelled), its text."""

    row: Row
    items: Mapping[str, Sequence[Item]]
    targets: Mapping[str, Any]
    text: Text | None = None
    """What the collator read, where it reads text (see CollatorConfig.build)."""


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


class Unembed(Protocol):
    """Hidden states to logits, lent by a fusion; its parameters, so that logits can be made and forgotten by chunks."""

    def __call__(self, hidden: Tensor, /) -> Tensor:
        """(S, C) -> (S, vocabulary)."""

    def parameters(self) -> Iterable[Tensor]:
        """Those that logits depend on."""


class Fused(NamedTuple):
    """What a fusion makes of the encoders' tokens.

    `tokens` by sample (B, T, C); `pooled` (B, C); `parts` each modality's tokens. Of a fusion that owns a vocabulary
    `hidden` (T, C), the states at all of the batch's text tokens in the order of `inputs["text"]`, and `unembed`, which makes
    logits of them. None where a fusion has no such thing. `encoded` is the model's to add: what the fusion was given, each
    encoder's tokens by item, before any modality saw another.
    """

    size: int
    tokens: Tokens | None = None
    pooled: Tensor | None = None
    parts: Mapping[str, Tokens] = {}
    unembed: Unembed | None = None
    encoded: Mapping[str, Tokens] = {}
    hidden: Tensor | None = None


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


class TextProcessor(Protocol):
    """What a fusion reads and writes text with. Picklable."""

    @property
    def tokenizer(self) -> Any:
        """transformers' PreTrainedTokenizerFast, with its chat template where it has one."""

    @property
    def max_length(self) -> int | None:
        """Tokens that the fusion has positions for; None: any number."""

    @property
    def parts(self) -> bool:
        """Its chat template renders messages whose content is a list of parts, media among them; else texts."""

    def placeholder(self, modality: str) -> str:
        """What stands for a medium in a text: one token of the tokenizer. ValueError for a modality that it does not take."""

    def expanded(self, modality: str, item: Item, length: int) -> tuple[Sequence[int], Sequence[bool]]:
        """The ids that a placeholder becomes, and which of them are the medium's own, `length` of them."""


class TargetProcessor(Protocol):
    """A row's label -> what a head's losses compare with. Picklable."""

    def __call__(self, fields: Mapping[str, Any]) -> Any:
        """Encode one row's target, None when the row has none; ValueError when it is wrong (out of range, NaN)."""

    def pad(self, targets: Sequence[Any]) -> dict[str, Tensor]:
        """Encoded targets as tensors with dimension 0 = samples; None becomes what the losses ignore."""


class TextTarget:
    """The target processor of a head that predicts text itself: the collator makes its targets, no field of the row has them.

    `index` (S,) places in `inputs["text"]` whose next token is supervised; `labels` (S,) that token; `weights` (S,) how much
    it counts; `row` (S,) its sample.
    """

    def __call__(self, fields: Mapping[str, Any]) -> None:
        """Nothing: what is supervised stands in the text."""

    def pad(self, targets: Sequence[Any]) -> dict[str, Tensor]:
        """Nothing is supervised."""
        import torch

        none = torch.zeros(0, dtype=torch.int64)
        return {"index": none, "labels": none, "weights": torch.zeros(0), "row": none}


class Plan(NamedTuple):
    """What a trainer holds at once, as far as memory and arithmetic go."""

    batch_size: int = 8
    """Rows of an optimizer step, over all ranks."""
    micro_batch: int = 0
    """Rows a rank takes at once; 0: all of its share."""
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    """Arithmetic of forward and backward, by autocast; weights are float32."""
    gradient_checkpointing: bool = False
