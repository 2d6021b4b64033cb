"""Data without end: a source that has no length is dealt out in lanes, and each lane says where it stands.

An epoch of a stream is the rows of all of its lanes. Which rank and which worker reads a lane is no business of the lane: a
run that goes on with other ranks opens the same lanes elsewhere, each where it stood.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from a2a_core.errors import A2AError
from a2a_core.structures import BadRow, Row

if TYPE_CHECKING:
    from a2a_core.components import Rows


class Lane(Protocol):
    """One sequence of an epoch's rows, the same ones in the same order whenever it is read."""

    def __iter__(self) -> Iterator[Row | BadRow]:
        """The rows, from where its state says; read once."""

    def state(self) -> dict[str, Any]:
        """Where it stands after the rows given so far, as plain JSON, to go on without reading what is behind it."""


@runtime_checkable
class Stream(Protocol):
    """What a source of rows without a length builds in place of Rows. Picklable, opens nothing until a lane is read."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences that the user is shown."""

    def lanes(self, wanted: int) -> int:
        """In how many lanes it can be dealt out: `wanted`, or fewer where it cannot be split."""

    def lane(self, lane: int, lanes: int, seed: int | None, epoch: int, state: Mapping[str, Any] | None) -> Lane:
        """One of so many lanes, from its beginning or from a state; all of them together give every row of an epoch once.

        Without a seed the rows come in the order in which they are stored, else in one that seed and epoch make.
        """

    def first(self, several: int) -> list[Row]:
        """A few rows, as they are stored, for what is looked at before a run."""


LOOKED_AT = 100
"""Rows of a stream that are looked at before a run."""
JUDGED_OVER = 1000
"""Of fewer rows of a stream it is not told yet what share of them is bad."""


class First:
    """The first rows of a stream, as Rows; A2AError where there are none."""

    def __init__(self, stream: Stream) -> None:
        self.rows = stream.first(LOOKED_AT)
        if not self.rows:
            raise A2AError("the stream has no rows")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Row:
        return self.rows[index]

    def column(self, field: str) -> list[Any]:
        """One field of them; KeyError that lists the fields when none has it."""
        known = sorted({name for row in self.rows for name in row.fields})
        if field not in known:
            names = ", ".join(f"`{name}`" for name in known)
            raise KeyError(f"none of the first {len(self.rows)} rows of the stream has it; there is {names}")
        return [row.fields.get(field) for row in self.rows]


def looked_at(rows: Rows | Stream) -> Rows:
    """Rows, as far as they can be looked at before a run."""
    return First(rows) if isinstance(rows, Stream) else rows


def all_of(rows: Rows | Stream) -> Iterator[Row]:
    """Every row, as they are stored; of a stream without those that cannot be read."""
    if isinstance(rows, Stream):
        lanes = rows.lanes(1)
        for lane in range(lanes):
            yield from (row for row in rows.lane(lane, lanes, None, 0, None) if isinstance(row, Row))
        return
    for index in range(len(rows)):
        yield rows[index]


def every(rows: Rows) -> str:
    """Which rows those are, for messages."""
    return f"the first {len(rows)} rows" if isinstance(rows, First) else "every row"


def judged_over(rows: Rows) -> int:
    """How many rows a share of bad ones is counted over."""
    return max(len(rows), JUDGED_OVER) if isinstance(rows, First) else len(rows)


class At(NamedTuple):
    """A row's place in its shard: its number, from 0, and what the shard's reader finds it by (bytes, say)."""

    number: int
    offset: int = 0


class Shards(Protocol):
    """Many files, each with some rows, that a ShardLane reads. Picklable."""

    def __len__(self) -> int: ...

    def place(self, shard: int) -> str:
        """What a shard is called, for messages."""

    def rows(self, shard: int, start: At | None, wanted: Callable[[int], bool]) -> Iterator[tuple[At, Row | BadRow]]:
        """The rows of a shard whose numbers are wanted, in order; nothing before `start`, a place that it gave, is read.

        Rows that are not wanted are not decoded. OSError or ValueError where the shard cannot be read, or not any further.
        """


class Piece(NamedTuple):
    """A lane's part of a shard: row n where first <= n % of < last."""

    shard: int
    first: int = 0
    last: int = 1
    of: int = 1

    def takes(self, number: int) -> bool:
        """Whether a row is the lane's."""
        return self.first <= number % self.of < self.last


def deal(shards: int, lane: int, lanes: int, seed: int | None, epoch: int) -> list[Piece]:
    """A lane's pieces, in order. Every lane gets as many shards as any other, in fractions: where two meet, they share one.

    So no rank waits for another while there are rows, be there fewer shards than lanes or many more; at most two shards of a
    lane are read by others, too.
    """
    import numpy as np  # only runs need it

    order = np.arange(shards) if seed is None else np.random.default_rng((seed, epoch)).permutation(shards)
    begin, end = lane * shards, (lane + 1) * shards  # in units of 1 / lanes of a shard
    pieces = []
    for place in range(begin // lanes, -(-end // lanes)):
        first, last = max(begin - place * lanes, 0), min(end - place * lanes, lanes)
        pieces.append(Piece(int(order[place]), first, last, lanes) if last - first < lanes else Piece(int(order[place])))
    return pieces


class Held(NamedTuple):
    """A row that waits in a lane's buffer, and where it can be read again."""

    piece: int
    at: At
    row: Row | BadRow


SAME = "go on with the very same shards; for others begin a new run, with `init_from`"


class ShardLane:
    """A lane over shards, its rows shuffled in a buffer of so many (1: as they are stored); see Lane.

    Which of the held rows comes next is a hash of seed, epoch, lane and how many came before: there is no generator to save,
    and the state has places only, of the rows held and of the one read last. A shard that cannot be read is a bad row, its
    place the shard's, and reading goes on behind it.
    """

    def __init__(
        self,
        shards: Shards,
        lane: int,
        lanes: int,
        seed: int | None,
        epoch: int,
        state: Mapping[str, Any] | None = None,
        buffer: int = 1,
    ) -> None:
        self.shards, self.buffer = shards, buffer if seed is not None else 1
        self.pieces = deal(len(shards), lane, lanes, seed, epoch)
        self.key = struct.pack("<qqq", seed or 0, epoch, lane)
        self.piece = self.given = 0
        """The piece that is read, and how many rows came out so far."""
        self.last: At | None = None
        """The last row read of the piece."""
        self.held: list[Held] = []
        if state is not None:
            self.restore(state)

    def state(self) -> dict[str, Any]:
        """See Lane.state."""
        return {
            "shards": len(self.shards),
            "shard": self.named(self.piece),
            "piece": self.piece,
            "last": self.last and list(self.last),
            "given": self.given,
            "held": [[held.piece, *held.at] for held in self.held],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; the rows that were held are read again."""
        if state["shards"] != len(self.shards):
            text = f"the stream has {len(self.shards)} shards, and had {state['shards']} when it was read before"
            raise A2AError(text, hint=SAME)
        self.piece, self.given = state["piece"], state["given"]
        if self.named(self.piece) != state["shard"]:
            text = f"the stream would go on in the shard {self.named(self.piece)}, and stood in {state['shard']} before"
            raise A2AError(text, hint=SAME)
        self.last = At(*state["last"]) if state["last"] else None
        places = [(piece, At(number, offset)) for piece, number, offset in state["held"]]
        rows: dict[tuple[int, int], Row | BadRow] = {}
        for piece in {piece for piece, _ in places}:
            rows |= self.again(piece, [at for each, at in places if each == piece])
        self.held = [Held(piece, at, rows[piece, at.number]) for piece, at in places]

    def named(self, piece: int) -> str:
        """What the shard of a piece is called; nothing behind the last."""
        return self.shards.place(self.pieces[piece].shard) if piece < len(self.pieces) else ""

    def again(self, piece: int, places: Sequence[At]) -> dict[tuple[int, int], Row | BadRow]:
        """Rows of a piece by their places; one that cannot be read any more is bad."""
        shard, numbers = self.pieces[piece].shard, {at.number for at in places}
        found: dict[tuple[int, int], Row | BadRow] = {}
        reason = "the shard has other rows than before"
        try:
            for at, row in self.shards.rows(shard, min(places), numbers.__contains__):
                found[piece, at.number] = row
                if len(found) == len(numbers):
                    break
        except (OSError, ValueError) as error:
            reason = str(error)
        return {(piece, number): self.unread(shard, reason, number) for number in numbers} | found

    def unread(self, shard: int, reason: str, number: int | None = None) -> BadRow:
        """In place of a shard, or of one of its rows."""
        place = self.shards.place(shard)
        row = place if number is None else f"{place}: row {number}"
        return BadRow(Row({}, row, Path(), row), reason)

    def __iter__(self) -> Iterator[Row | BadRow]:
        reading = self.reading()
        while True:
            while len(self.held) < self.buffer and (found := next(reading, None)) is not None:
                if isinstance(found, BadRow):
                    yield found
                else:
                    self.held.append(found)
            if not self.held:
                return
            slot = self.chance() % len(self.held)
            self.held[slot], self.held[-1] = self.held[-1], self.held[slot]
            self.given += 1
            yield self.held.pop().row

    def reading(self) -> Iterator[Held | BadRow]:
        """What comes into the buffer, in the order of the pieces; a BadRow in place of a shard, or of the rest of one."""
        while self.piece < len(self.pieces):
            piece = self.pieces[self.piece]
            behind = -1 if self.last is None else self.last.number
            try:
                for at, row in self.shards.rows(piece.shard, self.last, wanting(piece, behind)):
                    self.last = at
                    yield Held(self.piece, at, row)
            except (OSError, ValueError) as error:
                self.piece, self.last = self.piece + 1, None
                yield self.unread(piece.shard, str(error))
            else:
                self.piece, self.last = self.piece + 1, None

    def chance(self) -> int:
        """A number that nothing but the lane's place in its epoch decides."""
        return int.from_bytes(blake2b(self.key + struct.pack("<q", self.given), digest_size=8).digest(), "little")


def wanting(piece: Piece, behind: int) -> Callable[[int], bool]:
    """The rows of a piece that come after one."""
    return lambda number: number > behind and piece.takes(number)
