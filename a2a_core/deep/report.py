"""What a deep check found: plain values, for tables and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from a2a_core.errors import Problem


@attrs.frozen(slots=False)
class Part:
    """One part of the model: its place there, its shapes in one forward pass, its parameters, its arithmetic."""

    path: str
    use: str
    inputs: Mapping[str, Sequence[int]]
    outputs: Mapping[str, Sequence[int]]
    parameters: int
    trainable: int
    groups: Sequence[str]
    """Optimizer groups that its parameters are in, as patterns."""
    flops: int
    """Of a micro-batch, forward and backward."""


@attrs.frozen(slots=False)
class SampleRow:
    """One real row, processed."""

    split: str
    id: str
    place: str
    tokens: Mapping[str, int]
    """By encoder, as the fusion gets them."""
    supervised: Mapping[str, str]
    """By head, in words; heads without a label are left out."""
    error: str = ""
    """Why the row is bad."""


@attrs.frozen(slots=False)
class SplitBatch:
    """The first rows of a split as one batch."""

    split: str
    rows: int | None
    """Of the whole split; None for a stream."""
    counts: Mapping[str, float]
    """What each term of each loss counts: what is supervised."""
    padding: Mapping[str, float]
    """By encoder: the share of positions without a token, when all are as long as the longest."""


@attrs.frozen(slots=False)
class Memory:
    """Bytes on one rank."""

    backend: str
    ranks: int
    rows: int
    """At once: a micro-batch, or without one its share of a step."""
    weights: int
    gradients: int
    optimizer: int
    activations: int
    """With the inputs, and autocast's copies of weights where there are any."""
    buffers: int
    """Communication: buckets, gathered weights."""
    peak: int
    """Less than the sum where gradients are made while activations go."""
    installed: bool
    """The backend is one that a recipe can name here."""


@attrs.frozen(slots=False)
class Fitting:
    """The most rows at once that a rank of a backend can hold; 0: not one."""

    backend: str
    ranks: int
    micro_batch: int
    peak: int
    installed: bool


@attrs.frozen(slots=False)
class Fit:
    """An answer to `--fit`."""

    limit: int
    fittings: Sequence[Fitting]
    settings: Mapping[str, str | int | bool]
    """What to set in the recipe; empty where nothing fits."""
    advice: str


@attrs.frozen(slots=False)
class Report:
    """Everything that could be found out, whatever problems there are."""

    problems: Sequence[Problem] = ()
    parts: Sequence[Part] = ()
    samples: Sequence[SampleRow] = ()
    batches: Sequence[SplitBatch] = ()
    micro_batch: int = 0
    """Rows that one rank, alone, takes at once: `parts` are shown with so many."""
    batch_size: int = 0
    parameters: int = 0
    trainable: int = 0
    groups: Mapping[str, int] = attrs.field(factory=dict)
    """Parameters in each optimizer group."""
    thaws: Mapping[str, int] = attrs.field(factory=dict)
    """Trainable parameters that adapters keep frozen at first, by how long: optimizer steps, below 1 a share of all."""
    flops: int = 0
    """Of an optimizer step, over all ranks: forward, backward, and what is computed again."""
    memory: Sequence[Memory] = ()
    fit: Fit | None = None
    row_notes: Sequence[str] = ()
    """What sources say of their rows: those that give no sample, labels that are missing."""
    assumptions: Sequence[str] = ()
    notes: Sequence[str] = ()
    """What could not be found out, and why."""
