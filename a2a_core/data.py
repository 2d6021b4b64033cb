"""From a source's rows to batches: processing in the workers, bad rows set aside, an order that can be resumed anywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Thread
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, overload

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from a2a_core.components import EncoderConfig, RecordingConfig
from a2a_core.errors import A2AError, LeftOut, Unwanted
from a2a_core.media import given, media_of
from a2a_core.streams import Stream, every
from a2a_core.structures import BadRow as BadRow
from a2a_core.structures import Batch, Item, Medium, Processor, Row, Sample, TargetProcessor, Text

if TYPE_CHECKING:
    from a2a_core.components import Rows
    from a2a_core.recipe import Parts

R = TypeVar("R")
BLANK = Sample(Row({}, "", Path(), ""), {}, {})


Read = Callable[[Row, Mapping[str, Sequence[Item]]], Text]
"""A row and its items to its text; ValueError for a row that has none, or another number of media than its text names.

LeftOut and Unwanted where the recipe says what becomes of such a row.
"""


class Features(Protocol):
    """An encoder's tokens of a split, computed beforehand (see a2a_core.features)."""

    def items(self, row: int, /) -> Sequence[Item] | None:
        """A row's; None where one of its media could not be read."""


class Processed(Generic[R]):
    """Rows, and how they become samples; unless `bare` ones are welcome, each needs something for an encoder.

    `read` makes a row's text, where the collator reads text.
    """

    def __init__(
        self,
        rows: R,
        media: Mapping[str, Medium],
        targets: Mapping[str, TargetProcessor],
        bare: bool = True,
        read: Read | None = None,
    ) -> None:
        self.rows, self.media, self.targets, self.bare, self.read = rows, media, targets, bare, read

    def sample(self, row: Row, items_of: Callable[[str], Sequence[Item]] | None = None) -> Sample | BadRow:
        """A row, processed; `items_of` gives an encoder's items where they need not be read from it."""
        try:
            items = {key: self.items(row, medium) if items_of is None else items_of(key) for key, medium in self.media.items()}
            if self.media and not self.bare and not any(items.values()):
                fields = " or ".join(f"`{medium.field}`" for medium in self.media.values())
                raise ValueError(f"there is nothing in field {fields}")
            targets = {key: target(row.fields) for key, target in self.targets.items()}
            text = self.read(row, items) if self.read is not None else None
        except Exception as error:  # whatever a processor raises is this row's fault, until too many rows have it
            known = isinstance(error, (ValueError, OSError))
            return BadRow(row, str(error) if known else f"{type(error).__name__}: {error}", kind_of(error))
        return Sample(row, items, targets, text)

    def items(self, row: Row, medium: Medium) -> Sequence[Item]:
        """One modality of one row: none, one or several items."""
        items = [self.item(row, medium, raw) for raw in media_of(row, medium)]
        return [item for item in items if item is not None]

    def item(self, row: Row, medium: Medium, raw: Any) -> Item | None:
        """One medium; a file's name is relative to the folder of its row. None where the medium holds nothing for it."""
        path = row.root / raw if medium.file and isinstance(raw, str) else None
        try:
            return medium.processor(given(row, medium, raw))
        except FileNotFoundError:
            raise ValueError(f"field `{medium.field}`: there is no file {path or raw}") from None
        except (ValueError, OSError) as error:
            raise ValueError(f"field `{medium.field}`{f' ({path})' if path else ''}: {error}") from error


class Prepared(Processed["Rows"], Dataset[Sample | BadRow]):
    """Rows by index, processed when they are asked for."""

    @cached_property
    def features(self) -> dict[str, Features]:
        """Encoders whose tokens were computed beforehand: their media are not opened any more."""
        return {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample | BadRow:
        row = self.rows[index]
        return self.sample(row, lambda key: self.items_at(index, row, key))

    def first(self, several: int) -> list[Sample | BadRow]:
        """The first rows."""
        return [self[index] for index in range(min(several, len(self)))]

    def items_at(self, index: int, row: Row, key: str) -> Sequence[Item]:
        """One modality of one row, out of what was computed beforehand where there is that."""
        features = self.features.get(key)
        found = features.items(index) if features is not None else None
        if found is not None:
            return found
        items = self.items(row, self.media[key])
        if features is not None:  # bad rows are opened again, for what is wrong with them
            raise ValueError(f"field `{self.media[key].field}`: it could not be read when features were computed; now it can")
        return items


class Streamed(Processed[Stream]):
    """Rows without a length or an index: a2a_core.flow makes batches of them."""

    def first(self, several: int) -> list[Sample | BadRow]:
        """The first rows, as they are stored."""
        return [self.sample(row) for row in self.rows.first(several)]


def kind_of(error: Exception) -> Literal["bad", "left out", "unwanted"]:
    """What becomes of the row that raises it."""
    return "left out" if isinstance(error, LeftOut) else "unwanted" if isinstance(error, Unwanted) else "bad"


Group = Callable[[Sequence[int]], list[list[int]]]
"""Each row's tokens (0: it cannot be used), in an order of chance, to the rows that share a place in a batch, by index."""


class Collate:
    """Samples to a batch, with its encoders' `tokens` counted and its `bad` rows beside it.

    A batch of bad rows alone is one blank sample that counts nothing.
    """

    def __init__(self, collate: Callable[[Sequence[Sample]], Batch]) -> None:
        self.collate = collate
        self.read: Read | None = getattr(collate, "read", None)
        self.group: Group | None = getattr(collate, "group", None)
        self.stop: Sequence[int] = getattr(collate, "stop", ())
        self.template: str | None = getattr(collate, "template", None)

    def __call__(self, samples: Sequence[Sample | BadRow]) -> Batch:
        """One batch."""
        good = [sample for sample in samples if isinstance(sample, Sample)]
        batch = self.collate(good or [BLANK])
        batch["bad"] = [sample for sample in samples if isinstance(sample, BadRow)]
        batch.setdefault("tokens", sum(item.length for sample in good for items in sample.items.values() for item in items))
        if not good:
            batch["ids"] = []
        return batch


class Batches(Sampler[list[int]]):
    """One rank's batches of an epoch: a function of seed and epoch alone, each row exactly once over all ranks.

    Every rank has the same number of batches; in the last, ranks may have fewer rows than others, or none. Where rows were
    put into `groups` (packed, say), `length` and `batch_size` count those, and only rows in one are read. No two rows of one
    of `keys`, a number for each row, come together in one step over all ranks: a key that is more frequent than there are
    steps makes more, and smaller, ones.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        groups: Sequence[Sequence[int]] | None = None,
        keys: Sequence[int] | None = None,
    ) -> None:
        self.length, self.batch_size, self.shuffle, self.seed = length, batch_size, shuffle, seed
        self.rank, self.ranks, self.epoch, self.groups = rank, ranks, 0, groups
        self.skipped = 0
        self.keys = None if keys is None else torch.tensor(keys, dtype=torch.int64)
        self.steps = -(-length // (batch_size * ranks))
        if self.keys is not None and length:
            self.steps = max(self.steps, int(self.keys.unique(return_counts=True)[1].max()))

    def set_epoch(self, epoch: int) -> None:
        """Another epoch, another order."""
        self.epoch = epoch

    def skip(self, batches: int) -> None:
        """Begin the next pass, that one alone, behind so many batches; what they held is not even listed."""
        self.skipped = batches

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(self.length)
        generator = torch.Generator().manual_seed((self.seed << 20) + self.epoch)
        if self.shuffle:
            order = torch.randperm(self.length, generator=generator)
        skipped, self.skipped = self.skipped, 0
        for step in self.dealt(order, generator, skipped):
            chosen = step[self.rank :: self.ranks].tolist()
            yield chosen if self.groups is None else [row for group in chosen for row in self.groups[group]]

    def dealt(self, order: torch.Tensor, generator: torch.Generator, skipped: int = 0) -> Iterable[torch.Tensor]:
        """The rows of each step that is not skipped, over all ranks."""
        if self.keys is None:
            together = self.batch_size * self.ranks
            return (order[start : start + together] for start in range(skipped * together, self.length, together))
        if not self.length:
            return ()
        # rows of one key one behind the other, keys in an order of chance: dealt out like cards, no step gets two of a key
        _, key = self.keys[order].unique(return_inverse=True)
        if self.shuffle:
            key = torch.randperm(int(key.max()) + 1, generator=generator)[key]
        row = order[key.argsort(stable=True)]
        turn = torch.randperm(self.steps, generator=generator) if self.shuffle else torch.arange(self.steps)
        return (row[step :: self.steps] for step in turn[skipped:].tolist())


class Loader(DataLoader[Any]):
    """A DataLoader over our own batches; the trainer tells it the epoch."""

    batch_sampler: Batches

    def set_epoch(self, epoch: int) -> None:
        """Passed on to the batches."""
        self.batch_sampler.set_epoch(epoch)


def load(data: Prepared, collate: Collate, batches: Batches, workers: int = 0, pin: bool = False) -> Loader:
    """Batches of `data`; the loader draws from a generator of its own, never from the global one."""
    return Loader(
        data,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pin,
        worker_init_fn=leave_interrupts,
        generator=torch.Generator().manual_seed(0),
    )


def leave_interrupts(_: int) -> None:
    """Signals to all processes of a run are the rank's to answer; its workers go on until it needs them no more."""
    os.setpgrp()
    for each in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(each, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    Thread(target=heed_the_rank, daemon=True).start()


def heed_the_rank() -> None:
    """End when the rank says so, and nobody else: it may need this worker to come to a checkpoint."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


@overload
def prepare(rows: Rows, parts: Parts, labelled: bool = True, read: Read | None = None) -> Prepared: ...
@overload
def prepare(rows: Stream, parts: Parts, labelled: bool = True, read: Read | None = None) -> Streamed: ...
def prepare(rows: Rows | Stream, parts: Parts, labelled: bool = True, read: Read | None = None) -> Prepared | Streamed:
    """Rows with the processors of a model's parts; `read` is that of the collator (see Collate).

    `labelled = False` leaves targets out (prediction). A row without any of the modalities is then one that cannot be
    answered, unless text is read; in training it has a label to learn the prior from.
    """
    given = (media(parts), target_processors(parts) if labelled else {}, labelled or read is not None, read)
    return Streamed(rows, *given) if isinstance(rows, Stream) else Prepared(rows, *given)


def media(parts: Parts) -> dict[str, Medium]:
    """What is read from a row, by encoder, and by the names of what the fusion reads itself."""
    return {key: medium(key, encoder) for key, encoder in parts.encoders.items()} | dict(parts.fusion.media())


def medium(key: str, encoder: EncoderConfig) -> Medium:
    """How an encoder, of this name, reads a row."""
    bounds = (encoder.start, encoder.end) if isinstance(encoder, RecordingConfig) else ("", "")
    return Medium(encoder.field or key, encoder.reads == "file", encoder.processor(), *bounds, modality=encoder.modality)


def target_processors(parts: Parts) -> dict[str, TargetProcessor]:
    """The heads' own, where they have one."""
    found = {key: head.processor() for key, head in parts.heads.items()}
    return {key: target for key, target in found.items() if target is not None}


def collator(
    config: Any, parts: Parts, labelled: bool = True, processors: Mapping[str, Processor] = MappingProxyType({})
) -> Collate:
    """The recipe's collator for a model's parts; `processors` stand in for encoders' own."""
    projectors = {key: parts.projector(key) for key in parts.encoders}
    lengths = {key: projector.length for key, projector in projectors.items() if projector is not None}
    every = media(parts)
    chosen = {key: processors.get(key) or each.processor for key, each in every.items()}
    modalities = {key: each.modality for key, each in every.items()}
    targets = target_processors(parts) if labelled else {}
    return Collate(config.build(chosen, targets, lengths, parts.fusion.processor(), modalities))


def absent(rows: Rows, parts: Parts) -> list[str]:
    """What no row has: each a message, for modalities whose field is missing from every row."""
    found = []
    for key, encoder in parts.encoders.items():
        field = encoder.field or key
        if encoder.optional:
            continue
        try:
            missing = empty(rows, field)
        except KeyError as error:
            raise A2AError(
                f"encoder `{key}` reads field `{field}`: {error.args[0]}",
                hint=f"set `encoders.{key}.field`, or leave the encoder out: `--without encoders.{key}`",
            ) from None
        if missing:
            found.append(f"encoder `{key}` reads field `{field}`, which is empty in {every(rows)}")
    return found


def unread(rows: Rows, parts: Parts) -> list[str]:
    """Optional fields that no row has: each a message, as a wrong name looks just the same."""
    found = []
    for key, encoder in parts.encoders.items():
        field = encoder.field or key
        if encoder.optional:
            try:
                missing = empty(rows, field)
            except KeyError:
                missing = True
            if missing:
                found.append(f"no row of `train` has field `{field}`, which encoder `{key}` reads where there is one")
    return found


def empty(rows: Rows, field: str) -> bool:
    """Whether a field is empty in every row; KeyError where none has it."""
    return all(value is None or value == [] for value in rows.column(field))
