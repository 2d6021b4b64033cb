"""From a stream to batches: lanes dealt to ranks and workers, each rank's share of every step, and where all of it stands."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from a2a_core.data import Collate, Streamed, leave_interrupts
from a2a_core.errors import A2AError
from a2a_core.ranks import gathered
from a2a_core.structures import BadRow, Batch, Row

MOST_TOGETHER = 16
"""Lanes that one step reads: each has its shard open, and rows waiting in its buffer."""


class Dealing(NamedTuple):
    """How an epoch is dealt out: a step reads the lanes of one group, the next step those of the next.

    Lane l is in group l // (lanes / groups) and belongs to rank l % ranks: which rows a step has is no matter of how many
    ranks there are, and as each worker reads groups of its own, none of how many work.
    """

    lanes: int
    groups: int

    def of(self, group: int, rank: int, ranks: int) -> list[int]:
        """A rank's lanes in a group."""
        together = self.lanes // self.groups
        return [lane for lane in range(group * together, (group + 1) * together) if lane % ranks == rank]


def dealing(data: Streamed, batch_size: int, ranks: int, workers: int) -> Dealing:
    """How an epoch of training is dealt out; A2AError where the stream cannot be dealt to so many ranks."""
    together = [each for each in range(1, MOST_TOGETHER + 1) if batch_size % each == 0 and each % ranks == 0]
    found = dealt(data, max(together, default=ranks), ranks, workers)
    if found.lanes < ranks:
        text = f"the stream of `train` cannot be read by more than {found.lanes} ranks, and there are {ranks}"
        raise A2AError(text, hint="set `backend.processes` to that, or write the rows into several shards")
    return found


def dealt(data: Streamed, together: int, ranks: int, workers: int) -> Dealing:
    """Groups of so many lanes, one for each worker; a stream that has its own number of lanes makes what groups it can."""
    lanes = data.rows.lanes(max(1, workers) * together)
    groups = [each for each in range(1, max(1, workers) + 1) if lanes % (each * ranks) == 0]
    return Dealing(lanes, max(groups, default=1))


class Share(NamedTuple):
    """What one rank has of a step: batches, one behind the other, and where the lanes that they came from stand after it."""

    batches: list[Batch]
    group: int
    states: dict[int, str]
    """JSON."""


class Part(NamedTuple):
    """What one rank reads of an epoch, and how."""

    rank: int
    ranks: int
    dealing: Dealing
    seed: int | None
    epoch: int
    batches: int
    """Of a share."""
    rows: int
    """Of a batch."""
    full: bool = False
    """Only shares that have all of their rows."""
    turn: int = 0
    """The group to begin with."""
    states: Mapping[int, str] = {}
    """JSON, of lanes that were read before."""


class Shares(IterableDataset["Share | A2AError"]):
    """A rank's shares of an epoch; each worker reads groups of its own.

    What is the user's to mend comes in place of a share: raised in a worker, it would reach the rank as a traceback.
    """

    def __init__(self, data: Streamed, collate: Collate, part: Part) -> None:
        self.data, self.collate, self.part = data, collate, part

    def __iter__(self) -> Iterator[Share | A2AError]:
        try:
            yield from self.read()
        except A2AError as error:
            yield error

    def read(self) -> Iterator[Share]:
        """The shares of this worker."""
        part, worker = self.part, get_worker_info()
        first, several = (0, 1) if worker is None else (worker.id, worker.num_workers)
        groups = part.dealing.groups
        turns = deque((part.turn + place) % groups for place in range(first, groups, several))
        lanes = {group: self.opened(group) for group in turns}
        wanted = part.batches * part.rows
        while turns:
            group = turns.popleft()
            rows = drawn([rows for _, rows in lanes[group].values()], wanted)
            if len(rows) == wanted:
                turns.append(group)
            if rows and (len(rows) == wanted or not part.full):
                states = {lane: json.dumps(each.state()) for lane, (each, _) in lanes[group].items()}
                yield Share(self.batched(rows), group, states)

    def opened(self, group: int) -> dict[int, tuple[Any, Iterator[Row | BadRow]]]:
        """The rank's lanes of a group, where they stood."""
        part = self.part
        found = {}
        for number in part.dealing.of(group, part.rank, part.ranks):
            state = json.loads(part.states[number]) if number in part.states else None
            lane = self.data.rows.lane(number, part.dealing.lanes, part.seed, part.epoch, state)
            found[number] = (lane, iter(lane))
        return found

    def batched(self, rows: Sequence[Row | BadRow]) -> list[Batch]:
        """The rows, processed; where they do not fill all batches, the last ones count nothing."""
        samples = [row if isinstance(row, BadRow) else self.data.sample(row) for row in rows]
        several = self.part.rows
        return [self.collate(samples[start : start + several]) for start in range(0, self.part.batches * several, several)]

    def blank(self) -> list[Batch]:
        """As many batches as a share has, all of which count nothing."""
        return self.batched(())


def drawn(lanes: Sequence[Iterator[Row | BadRow]], several: int) -> list[Row | BadRow]:
    """Rows from the lanes in turn, from those that have any; fewer than asked for when no lane has more."""
    rows: list[Row | BadRow] = []
    going = list(lanes)
    while going and len(rows) < several:
        for lane in going[: several - len(rows)]:
            row = next(lane, None)
            if row is None:
                going.remove(lane)
            else:
                rows.append(row)
    return rows


def in_turn(shares: Shares, workers: int, pin: bool) -> Iterator[Share]:
    """Shares in the order in which `shares` gives them, however many workers read them: in turn, as groups are."""
    loader = DataLoader(
        shares,
        batch_size=None,
        collate_fn=as_it_is,
        num_workers=min(workers, shares.part.dealing.groups),
        pin_memory=pin,
        worker_init_fn=leave_interrupts,
        generator=torch.Generator().manual_seed(0),
    )
    for share in loader:
        if isinstance(share, A2AError):
            raise share
        yield share


def as_it_is(share: Any) -> Any:
    """Nothing is converted."""
    return share


class Flow:
    """One rank's batches of every step of a stream, epoch after epoch, and where it stands.

    Ranks agree on an epoch's end in the exchange that they have in each step anyway: every rank says whether it has a share
    for this step and another for the next, `judge` is told how many do.
    """

    def __init__(
        self,
        data: Streamed,
        collate: Collate,
        batch_size: int,
        batches: int,
        rows: int,
        rank: int,
        ranks: int,
        seed: int,
        workers: int = 0,
        pin: bool = False,
        tail: Literal["pad", "drop"] = "pad",
    ) -> None:
        self.data, self.collate, self.workers, self.pin, self.tail = data, collate, workers, pin, tail
        self.own = dealing(data, batch_size, ranks, workers)
        self.part = Part(rank, ranks, self.own, seed, 0, batches, rows, tail == "drop")
        self.shares = Shares(data, collate, self.part)
        self.reading: Iterator[Share] = iter(())
        self.here: Share | None = None
        self.ahead: Share | None = None
        self.over = False
        """The step at hand is its epoch's last."""
        self.seen = self.most = 0
        """Rows of this epoch so far, over all ranks, and of the longest one."""

    @property
    def epoch(self) -> int:
        """Epochs that are done, once a step is."""
        return self.part.epoch + self.over

    def __iter__(self) -> Iterator[list[Batch]]:
        """Begin an epoch, or go on in it; its steps come from `take`."""
        if self.over:
            self.over, self.seen = False, 0
            self.part = self.part._replace(epoch=self.part.epoch + 1, dealing=self.own, turn=0, states={})
        self.shares = Shares(self.data, self.collate, self.part)
        self.reading = in_turn(self.shares, self.workers, self.pin)
        self.ahead = next(self.reading, None)
        return self

    def __next__(self) -> list[Batch]:
        return self.take()

    def take(self) -> list[Batch]:
        """The rank's batches of the next step; where it has no rows any more, they count nothing."""
        self.here, self.ahead = self.ahead, next(self.reading, None) if self.ahead is not None else None
        if self.here is None:
            return self.shares.blank()
        turn = (self.here.group + 1) % self.part.dealing.groups
        self.part = self.part._replace(turn=turn, states={**self.part.states, **self.here.states})
        return self.here.batches

    def flags(self) -> tuple[bool, bool]:
        """Whether this rank has rows in the step at hand, and whether it has more."""
        return self.here is not None, self.ahead is not None

    def judge(self, here: float, more: float, rows: float) -> None:
        """How many ranks say so, and the rows of the step over all of them; A2AError where there is nothing to train on."""
        needed = self.part.ranks if self.tail == "drop" else 1
        if here < needed:
            text = f"epoch {self.part.epoch + 1} of the stream of `train` has "
            if self.tail == "pad":
                raise A2AError(text + "no rows", hint="look at what `path` of [data.train] matches")
            raise A2AError(text + "no step that is full on every rank", hint='set `trainer.tail = "pad"`')
        self.over = more < needed
        self.seen += int(rows)
        self.most = max(self.most, self.seen)

    def position(self) -> dict[str, Any]:
        """Where this rank stands, as plain JSON."""
        part = self.part
        if self.over:
            part = part._replace(epoch=part.epoch + 1, turn=0, states={})
        own = {"turn": part.turn, "states": {str(lane): json.loads(state) for lane, state in part.states.items()}}
        return {
            "epoch": part.epoch,
            "lanes": part.dealing.lanes,
            "groups": part.dealing.groups,
            "seen": 0 if self.over else self.seen,
            "most": self.most,
        } | own

    def go_on_from(self, positions: Sequence[Mapping[str, Any]]) -> None:
        """Every rank's position, of as many ranks as there were: lanes go to those that are here now, each where it stood."""
        part, first = self.part, positions[0]
        states = {int(lane): state for each in positions for lane, state in each["states"].items()}
        same = positions[part.rank] if len(positions) == part.ranks else first
        self.seen, self.most, self.over = first["seen"], first["most"], False
        self.part = part._replace(
            epoch=first["epoch"],
            dealing=Dealing(first["lanes"], first["groups"]) if states else self.own,
            turn=same["turn"],
            states={lane: json.dumps(state) for lane, state in states.items() if lane % part.ranks == part.rank},
        )


class Once:
    """One rank's batches of a stream that is read once and in order, to evaluate; as many on every rank."""

    def __init__(
        self,
        data: Streamed,
        collate: Collate,
        batch_size: int,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        pin: bool = False,
    ) -> None:
        part = Part(rank, ranks, dealt(data, ranks, ranks, workers), None, 0, 1, batch_size)
        self.shares, self.workers, self.pin = Shares(data, collate, part), workers, pin

    def __iter__(self) -> Iterator[Batch]:
        reading = in_turn(self.shares, self.workers, self.pin)
        return abreast(reading, self.shares.blank) if self.shares.part.ranks > 1 else one_by_one(reading)


def one_by_one(shares: Iterator[Share]) -> Iterator[Batch]:
    """Their batches."""
    for share in shares:
        yield from share.batches


def abreast(shares: Iterator[Share], blank: Callable[[], list[Batch]]) -> Iterator[Batch]:
    """Their batches, and ones that count nothing while another rank has more: forward passes may need all ranks."""
    while any(gathered((share := next(shares, None)) is not None)):
        yield from blank() if share is None else share.batches


class Counted:
    """Batches, and how many rows they had."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches, self.rows = batches, 0

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            self.rows += len(batch["ids"])
            yield batch
