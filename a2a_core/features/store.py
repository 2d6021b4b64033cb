"""An encoder's shards: which entries are there and whole, and room for more."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from a2a_core.features import Unusable, places
from a2a_core.features.shard import Entry, Shard, write_shard
from a2a_core.runs import full

ANOTHER = f"set {places.FOLDER} to another folder"
RAISE = f"raise {places.LIMIT}, or `a2a cache clear` what is not needed"


class Place(NamedTuple):
    """Where an entry lies."""

    shard: Shard
    entry: int


class Store:
    """One encoder's folder, for one run, which holds its lock while it writes.

    `run` is in the names of the shards that the run writes, on all of its ranks; `kept` what it needs, of other encoders, too.
    """

    def __init__(self, name: str, about: dict[str, Any], run: str, rank: int, kept: set[Path]) -> None:
        self.name, self.about, self.run, self.rank, self.kept = name, about, run, rank, kept
        self.folder = places.encoders() / name
        self.alone = True
        """Whether this run surely holds the lock: on a file system without locks another may be writing here, too."""
        self.damaged: dict[Path, Exception] = {}
        """Shards that could not be read, and why."""

    def find(self, keys: Iterable[bytes], mine: bool = False) -> dict[bytes, Place]:
        """Where each of these lies, in the newest shard (of this run's) that has it; what is not there is left out.

        Unusable where the folder cannot be read.
        """
        wanted, found = set(keys), dict[bytes, Place]()
        for file in reversed(self.mine() if mine else self.shards()):
            if len(found) == len(wanted):
                break
            try:
                shard = Shard(file.path)
            except FileNotFoundError:
                continue
            except (places.Damaged, OSError) as error:
                self.damaged[file.path] = error
                continue
            for index, key in enumerate(shard.keys):
                name = key.tobytes()
                if name in wanted and name not in found:
                    found[name] = Place(shard, index)
        return found

    def drop_damaged(self) -> None:
        """Delete what is no whole shard; what belongs to another user, who alone may read it, is left."""
        for path, error in self.damaged.items():
            if isinstance(error, places.Damaged):
                with suppress(OSError):
                    path.unlink()
        self.damaged = {}

    def clean(self) -> None:
        """Delete what writers that died left half-written."""
        if self.alone:
            places.clean(self.folder)

    def shards(self) -> list[places.ShardFile]:
        """What is there; Unusable where that cannot be seen."""
        try:
            return places.shards(self.folder)
        except OSError as error:
            reason = f"the cache folder {self.folder} cannot be read: {error.strerror}"
            raise Unusable(reason, ANOTHER) from error

    def mine(self) -> list[places.ShardFile]:
        """What this run wrote here."""
        return [shard for shard in self.shards() if f"-{self.run}-" in shard.path.name]

    def keep(self, found: Iterable[Place]) -> None:
        """Note these shards as needed and used now."""
        for path in {place.shard.path for place in found}:
            self.kept.add(path)
            with suppress(OSError):
                os.utime(path)

    def write(self, entries: Sequence[Entry]) -> None:
        """One more shard, others evicted for it if need be; Unusable where there is no room, or no writing."""
        if not entries:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.make_room(sum(entry.values.nbytes + entry.mask.nbytes + 40 for entry in entries))
            path = self.folder / f"{time.time_ns():020d}-{self.run}-{self.rank}{places.SUFFIX}"
            write_shard(path, entries, self.about)
        except Unusable:
            raise
        except Exception as error:  # safetensors has exceptions of its own for what the disk says
            raise unwritten(error, self.folder) from error

    def make_room(self, more: int) -> None:
        """Evict what has not been used for longest; Unusable where this run alone needs more than there may be."""
        limit = places.limit()
        ours = {shard.path for shard in self.mine()} | self.kept
        alone = more + sum(path.stat().st_size for path in ours if path.exists())
        if alone > limit:
            raise too_much(f"its features take more than {places.size(limit)}")
        over = sum(shard.size for shard in places.every_shard()) + more - limit
        if over > 0 and places.evict(over, ours, self.name if self.alone else "") < over:
            raise too_much(f"other runs are writing features, and all together would be more than {places.size(limit)}")

    def expect(self, more: float) -> None:
        """Unusable where so many bytes, an estimate, would be far more than the limit or the disk has room for."""
        limit, free = places.limit(), shutil.disk_usage(self.folder if self.folder.exists() else places.folder()).free
        if more > GENEROUS * limit:
            raise too_much(f"its features would take about {places.size(more)}, and the limit is {places.size(limit)}")
        if more > GENEROUS * free:
            text = (
                f"its features would take about {places.size(more)}, and the disk of {places.folder()} has {places.size(free)}"
            )
            raise Unusable(text, f"set {places.FOLDER} to a folder on a larger disk")

    def discard(self) -> None:
        """Delete what this run wrote here: kept in vain, it would take the space that the run's checkpoints need."""
        with suppress(OSError, Unusable):
            places.delete([shard for shard in self.mine() if shard.path not in self.kept])
            self.clean()


GENEROUS = 1.25
"""Estimates may be so far off."""


def too_much(reason: str) -> Unusable:
    """The limit."""
    return Unusable(reason, RAISE)


def unwritten(error: Exception, folder: Path) -> Unusable:
    """Why nothing could be written."""
    if full(error, folder):
        return Unusable(f"no space left on the disk of {folder}", f"set {places.FOLDER} to a folder on another disk", False)
    said = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    return Unusable(f"the cache folder {folder} cannot be written: {said}", ANOTHER)
