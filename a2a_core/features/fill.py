"""Compute the features that are missing, in batches that are always the same, and write them shard by shard."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from a2a_core.data import leave_interrupts
from a2a_core.evaluate import moved
from a2a_core.features import Unusable
from a2a_core.features.shard import NOTHING, Entry
from a2a_core.features.store import Store
from a2a_core.media import media_of
from a2a_core.structures import Item, Tokens

if TYPE_CHECKING:
    from a2a_core.data import Prepared

SHARD_BYTES = 1 << 28
SHARD_SECONDS = 300.0
"""A shard is written when it has so many bytes or is so old: an interrupted run loses no more."""
ENOUGH = 8
"""Batches after which the rest can be estimated."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Wanted(NamedTuple):
    """One medium of the data: the first row that has it."""

    key: bytes
    split: str
    row: int
    place: int


class Computed(NamedTuple):
    """A batch for the encoder: which of its items are wanted, and the batch itself."""

    wanted: list[tuple[bytes, int, int]]
    """Key, place in the batch, length; those that hold nothing have neither."""
    tensors: dict[str, Tensor] | None


class Groups(Dataset[Computed]):
    """Batches of media of which some are missing.

    What stands beside a medium in a batch changes its last bits. So that a run that was interrupted here comes to the same
    bits as one that was not, the batches are cut from all media of the data before it is looked at which are missing, and
    a batch is computed whole, or not at all.
    """

    def __init__(self, data: Mapping[str, Prepared], key: str, groups: Sequence[Sequence[Wanted]], missing: set[bytes]) -> None:
        self.data, self.key, self.groups, self.missing = data, key, groups, missing

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> Computed:
        group = self.groups[index]
        items = {each.key: self.item(each) for each in group if each.key in self.missing}
        wanted = [(key, NOTHING, NOTHING) for key, item in items.items() if item is None]
        if not any(isinstance(item, Item) for item in items.values()):
            return Computed(wanted, None)
        everything = [(each.key, items[each.key] if each.key in items else self.item(each)) for each in group]
        batch = [(key, item) for key, item in everything if isinstance(item, Item)]
        wanted += [(key, place, item.length) for place, (key, item) in enumerate(batch) if key in self.missing]
        return Computed(wanted, self.data[group[0].split].media[self.key].processor.pad([item for _, item in batch]))

    def item(self, wanted: Wanted) -> Item | Exception | None:
        """Process one; its row will say what is wrong with it."""
        data = self.data[wanted.split]
        row, medium = data.rows[wanted.row], data.media[self.key]
        try:
            return data.item(row, medium, media_of(row, medium)[wanted.place])
        except Exception as error:  # as for rows
            return error


class Filling:
    """What is computed goes into a store; `told` is called with the number of media that are done."""

    def __init__(
        self,
        store: Store,
        module: Any,
        dtype: str,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[Any]],
        told: Callable[[int], None],
    ) -> None:
        self.store, self.module, self.dtype = store, module, DTYPES[dtype]
        self.device, self.autocast, self.told = device, autocast, told
        self.entries: list[Entry] = []
        self.bytes, self.done, self.written, self.since = 0, 0, 0, time.monotonic()

    def run(self, groups: Groups, workers: int, ranks: int) -> None:
        """Compute this rank's groups. What is done when it is interrupted is kept; Unusable where it cannot be."""
        # in a random order, so that the first few tell how large all will be
        order = random.Random(0).sample(range(len(groups)), len(groups))
        missing = sum(each.key in groups.missing for group in groups.groups for each in group)
        loader = DataLoader(
            groups,
            batch_size=None,
            sampler=order,
            collate_fn=as_it_is,
            num_workers=workers if len(groups) > 1 else 0,
            worker_init_fn=leave_interrupts,
            generator=torch.Generator().manual_seed(0),
        )
        try:
            for number, computed in enumerate(loader, 1):
                self.add(computed)
                if number == min(ENOUGH, len(groups)):
                    self.store.expect(ranks * (self.written + self.bytes) / max(1, self.done) * missing)
            self.write()
        except Unusable:
            raise
        except BaseException:
            with suppress(Unusable):
                self.write()
            raise

    def add(self, computed: Computed) -> None:
        """One batch."""
        if computed.tensors is None:
            nothing = torch.empty(0, int(self.module.width), dtype=self.dtype)
            found = [Entry(key, nothing, torch.empty(0, dtype=torch.bool), NOTHING) for key, _, _ in computed.wanted]
        else:
            found = self.compute(computed.wanted, computed.tensors)
        self.entries += found
        self.bytes += sum(entry.values.nbytes + entry.mask.nbytes for entry in found)
        self.done += len(computed.wanted)
        if self.bytes >= SHARD_BYTES or time.monotonic() - self.since > SHARD_SECONDS:
            self.write()
        self.told(self.done)

    def compute(self, wanted: Sequence[tuple[bytes, int, int]], tensors: dict[str, Tensor]) -> list[Entry]:
        """Run the encoder."""
        with torch.no_grad(), self.autocast():
            tokens: Tokens = self.module(**moved(tensors, self.device))
        self.store.about["emitted"] = str(tokens.values.dtype).removeprefix("torch.")
        values, mask = tokens.values.to(self.dtype).cpu(), tokens.mask.cpu()
        if self.dtype == torch.float16 and not values.isfinite().all():
            raise Unusable("its tokens are larger than float16 holds", 'set `cache_dtype = "bfloat16"` or `"float32"`')
        stops = (mask * torch.arange(1, mask.shape[1] + 1)).amax(1).tolist() if mask.shape[1] else [0] * len(mask)
        found = []
        for key, place, length in wanted:
            stop = 0 if length == NOTHING else stops[place]
            found.append(Entry(key, values[place, :stop], mask[place, :stop], length))
        return found

    def write(self) -> None:
        """A shard of what is there."""
        self.store.write(self.entries)
        self.written, self.entries, self.bytes, self.since = self.written + self.bytes, [], 0, time.monotonic()


def as_it_is(computed: Any) -> Any:
    """A batch is made already."""
    return computed
