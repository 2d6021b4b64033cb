"""A job's frozen encoders, each computed once: which of them, and what is there, missing or in vain."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from a2a_core import ranks
from a2a_core.components import EncoderConfig
from a2a_core.data import Prepared, collator
from a2a_core.errors import A2AError, Problem, RunFailed
from a2a_core.features import Unusable, places
from a2a_core.features.content import Contents, key_of
from a2a_core.features.fill import Filling, Groups, Wanted
from a2a_core.features.identity import arithmetic, encoder_key
from a2a_core.features.store import Place, Store, unwritten
from a2a_core.features.table import FeatureProcessor, FeatureTable, replaced
from a2a_core.media import given, media_of
from a2a_core.options import defined_by
from a2a_core.plugins import owners
from a2a_core.recipe.writing import qualified
from a2a_core.runs import now

if TYPE_CHECKING:
    from a2a_core.job import Job

Autocast = Callable[[], AbstractContextManager[Any]]
Keys = dict[str, list[tuple[bytes | None, ...]]]
"""Split -> row -> its media's keys; None for one that cannot be read."""
PATIENCE = 10.0
"""Seconds between two words of a rank that waits for another run to those that wait for it."""


def cache_features(job: Job, device: torch.device, autocast: Autocast, workers: int) -> None:
    """See Job.cache_features."""
    encoders = chosen(job)
    if not encoders:
        return
    places.limit()  # a mistake in it is the user's
    if ranks.rank() == 0:
        places.sweep()
    kept: set[Path] = set()
    done = {}
    run = ranks.first(uuid.uuid4().hex[:12])
    processors = {}
    for key in encoders:
        encoder = EncoderCache(job, key, device, autocast, workers, run, kept)
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                tables, processors[key] = encoder.prepared()
        except Unusable as problem:
            refuse_or_tell(job, key, problem)
            done[key] = f"computed each time: {problem.reason}"
            continue
        done[key] = "kept"
        for split, table in tables.items():
            indexed(job)[split].features[key] = table
    if ranks.rank() == 0:
        job.run.update(features=done)
    if processors:
        job.collate.collate = collator(job.recipe.collator, job.model.parts, processors=processors).collate


def chosen(job: Job) -> list[str]:
    """The encoders whose features are kept; A2AError where `cache = true` cannot be."""
    found, problems = [], []
    for key, encoder in job.model.parts.encoders.items():
        if any(defined_by(type(encoder), name) is not EncoderConfig for name in ("cache", "cache_dtype")):
            continue  # its author means something else by it
        reason = against(job, key)
        if encoder.cache is True and reason:
            problems.append(Problem(f"`encoders.{key}.cache = true`: {reason}"))
        elif encoder.cache is True or (encoder.cache == "auto" and not reason and again(job)):
            found.append(key)
    if problems:
        raise A2AError(problems)
    return found


def again(job: Job) -> bool:
    """Whether the run reads its rows more than once."""
    return job.recipe.trainer.passes(len(indexed(job)["train"])) > 1


def indexed(job: Job) -> dict[str, Prepared]:
    """The splits whose rows can be asked for by number: all of them, where features are kept (see `against`)."""
    return {split: data for split, data in job.data.items() if isinstance(data, Prepared)}


def against(job: Job, key: str) -> str:
    """Why an encoder's tokens may differ from one time to the next; empty where they cannot."""
    parameters = list(job.model.encoder(key).parameters())
    if not parameters or any(parameter.requires_grad for parameter in parameters):
        return "something in it is trained" if parameters else "it has no weights"
    if not all(data.media[key].processor.deterministic for data in job.data.values()):
        return "its processor does not always make the same of a medium"
    return "" if len(indexed(job)) == len(job.data) else "rows come as a stream, and none of them is known by its number"


def refuse_or_tell(job: Job, key: str, problem: Unusable) -> None:
    """An error where the recipe insists, or says how tokens are rounded: whether they are must not depend on a disk."""
    encoder = job.model.parts.encoders[key]
    said = "cache = true" if encoder.cache is True else f'cache_dtype = "{encoder.cache_dtype}"'
    if encoder.cache is True or encoder.cache_dtype != "float32":
        kind = A2AError if problem.mistake else RunFailed
        raise kind(f"`encoders.{key}.{said}`: {problem.reason}", hint=problem.hint) from problem
    job.reporter.note(f"encoder `{key}` is computed each time: {problem.reason}")


class EncoderCache:
    """One encoder's features of all splits."""

    def __init__(
        self, job: Job, key: str, device: torch.device, autocast: Autocast, workers: int, run: str, kept: set[Path]
    ) -> None:
        self.job, self.key, self.device, self.autocast, self.workers = job, key, device, autocast, workers
        self.run, self.kept = run, kept
        self.config: EncoderConfig = job.model.parts.encoders[key]
        self.module: Any = job.model.encoder(key)

    def prepared(self) -> tuple[dict[str, FeatureTable], FeatureProcessor]:
        """A table for each split, and what pads their items; every rank calls it. Unusable says why not."""
        adapters, how = self.job.model.parts.adapters, arithmetic(self.device, self.autocast)
        name = ranks.agreed(lambda: encoder_key(self.config, self.module, adapters, how), Unusable)
        if len(set(ranks.gathered(name))) > 1:
            raise Unusable("ranks have different weights of it")
        keys = {split: self.keys(split, data) for split, data in indexed(self.job).items()}
        store = Store(name, self.about(), self.run, ranks.rank(), self.kept)
        lock = places.lock_of(name)
        try:
            self.wait_for(lock)
            store.alone = ranks.first(lock.held)
            found = self.completed(store, keys)
        except Unusable:
            store.discard()
            raise
        finally:
            lock.release()
        emitted = next((place.shard.about["emitted"] for place in found.values() if "emitted" in place.shard.about), "float32")
        tables = {split: FeatureTable(rows, found) for split, rows in keys.items()}
        processor = self.job.data["train"].media[self.key].processor
        return tables, replaced(processor, int(self.module.width), getattr(torch, emitted))

    def about(self) -> dict[str, Any]:
        """What `a2a cache list` says of the shards."""
        encoder = type(self.config)
        path = getattr(self.config, "path", None)
        plugin = owners.get(encoder)
        return {
            "encoder": qualified(encoder),
            "plugin": f"{plugin.dist} {plugin.version}" if plugin else "",
            "path": str(path) if path else "",
            "dtype": self.config.cache_dtype,
            "width": int(self.module.width),
            "created": now(),
        }

    def keys(self, split: str, data: Prepared) -> list[tuple[bytes | None, ...]]:
        """What each row's media are; ranks share the work."""
        rank, several, length = ranks.rank(), ranks.ranks(), len(data)
        medium = data.media[self.key]

        def mine() -> list[tuple[bytes | None, ...]]:
            found = []
            with closing(Contents(places.contents())) as contents:
                for number, index in enumerate(range(rank, length, several), 1):
                    found.append(keys_of(data, self.key, index, contents))
                    self.job.reporter.prepare(f"media of `{medium.field}` in `{split}`", min(number * several, length), length)
            return found

        every: list[tuple[bytes | None, ...]] = [()] * length
        for place, part in enumerate(ranks.gathered(ranks.agreed(mine, Unusable))):
            every[place::several] = part
        return every

    def wait_for(self, lock: Any) -> None:
        """Until no other run computes this encoder's features. Every rank hears of it now and then, and so none gives up."""

        def taken(wait: float) -> bool:
            try:
                return ranks.rank() != 0 or lock.take(wait)
            except OSError as error:
                raise unwritten(error, places.folder()) from error

        if ranks.first(ranks.agreed(lambda: taken(0.0), Unusable)):
            return
        self.job.reporter.note(f"another run computes the features of encoder `{self.key}`: waiting for it")
        while not ranks.first(ranks.agreed(lambda: taken(PATIENCE), Unusable)):
            pass

    def completed(self, store: Store, keys: Keys) -> dict[bytes, Place]:
        """Every feature that can be had."""
        if ranks.rank() == 0:
            store.clean()
        media = first_places(keys)
        found = self.checked(store, [each.key for each in media])
        missing = {each.key for each in media} - found.keys()
        store.keep(found.values())
        if missing:
            ranks.agreed(lambda: self.fill(store, media, missing), Unusable)
            computed = ranks.agreed(lambda: store.find(missing, mine=True), Unusable)
            store.keep(computed.values())
            found |= computed
        ranks.gathered(None)  # until every rank has opened its shards, none of them may go
        there, size = len(media) - len(missing), sum(place.shard.size(place.entry) for place in found.values())
        self.job.reporter.features(self.key, there, len(found) - there, size)
        return found

    def checked(self, store: Store, keys: Sequence[bytes]) -> dict[bytes, Place]:
        """What is there and as it was written; ranks share the reading, and the first one tells what is not."""
        found = ranks.agreed(lambda: store.find(keys), Unusable)
        bad = ranks.agreed(lambda: self.altered(found), Unusable)
        altered = {key for part in ranks.gathered(bad) for key in part}
        if altered:
            self.job.reporter.note(
                f"{len(altered)} of {len(found)} features of encoder `{self.key}` in {store.folder} were altered "
                f"since they were written: they are computed again"
            )
        for path, reason in store.damaged.items():
            self.job.reporter.note(f"features of encoder `{self.key}` in {path} are computed again: {reason}")
        if ranks.rank() == 0:
            store.drop_damaged()
        return {key: place for key, place in found.items() if key not in altered}

    def altered(self, found: Mapping[bytes, Place]) -> list[bytes]:
        """This rank's share of what is there, read: what is not as it was written."""
        mine = list(found)[ranks.rank() :: ranks.ranks()]
        bad = []
        for number, key in enumerate(mine, 1):
            if not found[key].shard.intact(found[key].entry):
                bad.append(key)
            self.job.reporter.prepare(f"features of `{self.key}` read", number, len(mine))
        return bad

    def fill(self, store: Store, media: Sequence[Wanted], missing: set[bytes]) -> None:
        """Compute this rank's share of what is missing."""
        plan = self.job.recipe.trainer.plan()
        size = plan.micro_batch or max(1, plan.batch_size // ranks.ranks())  # what a rank takes at once in training
        groups = [media[start : start + size] for start in range(0, len(media), size)]
        groups = [group for group in groups if any(each.key in missing for each in group)]
        share = groups[ranks.rank() :: ranks.ranks()]

        def told(done: int) -> None:
            self.job.reporter.prepare(f"features of `{self.key}`", min(done * ranks.ranks(), len(missing)), len(missing))

        training = self.module.training
        filling = Filling(store, self.module.eval(), self.config.cache_dtype, self.device, self.autocast, told)
        filling.run(Groups(indexed(self.job), self.key, share, missing), self.workers, ranks.ranks())
        self.module.train(training)


def keys_of(data: Prepared, key: str, index: int, contents: Contents) -> tuple[bytes | None, ...]:
    """A row's media; (None,) for a row of which one cannot be read."""
    row, medium = data.rows[index], data.media[key]
    try:
        return tuple(key_of(given(row, medium, raw), contents) for raw in media_of(row, medium))
    except (OSError, ValueError):
        return (None,)


def first_places(keys: Mapping[str, Iterable[tuple[bytes | None, ...]]]) -> list[Wanted]:
    """Each medium once, in the order of the data."""
    found: dict[bytes, Wanted] = {}
    for split, rows in keys.items():
        for row, several in enumerate(rows):
            for place, key in enumerate(several):
                if key is not None and key not in found:
                    found[key] = Wanted(key, split, row, place)
    return list(found.values())
