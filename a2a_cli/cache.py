"""`a2a cache`: what frozen encoders have made of their media, kept between runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from a2a_cli.arguments import json_option
from a2a_cli.output import plural, print_json, table
from a2a_core.errors import A2AError
from a2a_core.features import places

SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
SHORT = 12
"""Digits of a key that are shown, and that tell encoders apart."""


class Kept(NamedTuple):
    """One encoder's features."""

    key: str
    encoder: str
    plugin: str
    path: str
    dtype: str
    entries: int
    shards: list[places.ShardFile]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(shard.size for shard in self.shards)

    @property
    def used(self) -> float:
        """When a run last used any of them."""
        return max(shard.used for shard in self.shards)


class Age(click.ParamType[float]):
    """A stretch of time: `30d`, `12h`."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """A number and a unit, as seconds."""
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\s*", str(value))
        if match is None:
            self.fail(f"{value!r} is no age such as 30d, 12h or 2w", param, ctx)
        return float(match[1]) * SECONDS[match[2]]


class CacheName(click.ParamType[str]):
    """An encoder, or the key of its features."""

    name = "cache"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """What is there."""
        from click.shell_completion import CompletionItem

        names = {name for kept in found() for name in (kept.encoder.rpartition(":")[2], kept.key[:SHORT])}
        return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


@click.group()
def cache() -> None:
    """What frozen encoders have made of their media: list it, clear it.

    The tokens of an encoder with `freeze = true` are computed once, before the training, and kept for later epochs and later
    runs: a run whose data, weights and options are the same reads them. They lie in `$A2A_CACHE`, else in `~/.cache/a2a`,
    and take at most `$A2A_CACHE_LIMIT` (50GiB), the least recently used making room. Deleting them costs nothing but the
    time to compute them again. `cache = false` in an encoder's table does without.
    """


@cache.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List what is kept, encoder by encoder, the last used first.

    An encoder stands here once for each difference that matters: other weights, options, arithmetic, code or versions.
    """
    must_be_folder()
    every = sorted(found(), key=lambda kept: -kept.used)
    total = sum(kept.size for kept in every)
    if as_json:
        print_json(
            {"folder": places.folder(), "limit": places.limit(), "size": total, "encoders": [machine(kept) for kept in every]}
        )
        return
    if not every:
        click.echo(f"no features are kept in {places.folder()}")
        return
    click.echo(table([row(kept) for kept in every], ("key", "encoder", "plugin", "weights", "media", "size", "last used")))
    click.echo(f"\n{places.size(total)} of at most {places.size(places.limit())} in {places.folder()}")


@cache.command("clear")
@click.argument("names", nargs=-1, metavar="[NAME|KEY]…", type=CacheName())
@click.option("--older-than", type=Age(), metavar="AGE", help="Only what no run has used for so long: 30d, 12h, 2w.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(names: tuple[str, ...], older_than: float | None, yes: bool) -> None:
    """Delete what is kept: of an encoder (`hf-vision`), under a key, or all of it.

    \b
    a2a cache clear                        # everything
    a2a cache clear hf-vision              # of all encoders of that name
    a2a cache clear 2f08a47b3c8a           # one line of `a2a cache list`
    a2a cache clear --older-than 30d --yes

    What another run is writing is left alone. A run that uses features which are deleted goes on, and so do its forked
    workers (`trainer.workers`); workers that are started in another way, as Python 3.14 does by itself, open the files anew,
    and the run fails. An age counts from the start of the last run that used them.
    """
    must_be_folder()
    every = [kept for kept in found() if not names or any(named(kept, name) for name in names)]
    for name in names:
        if not any(named(kept, name) for kept in every):
            raise A2AError(f"no features of `{name}` are kept", hint="see `a2a cache list`")
    before = time.time() - (older_than or 0.0)
    chosen = {kept.key: [shard for shard in kept.shards if shard.used <= before or older_than is None] for kept in every}
    chosen = {key: shards for key, shards in chosen.items() if shards}
    size = sum(shard.size for shards in chosen.values() for shard in shards)
    if chosen and not yes:
        click.confirm(f"Delete the features of {plural(len(chosen), 'encoder')}, {places.size(size)}?", abort=True, err=True)
    freed = sum(cleared(key, shards) for key, shards in chosen.items())
    places.sweep()
    if not names and older_than is None:
        with suppress(OSError):
            places.contents().unlink(missing_ok=True)
    click.echo(f"{places.size(freed)} freed" if freed else "there is nothing to delete")


def must_be_folder() -> None:
    """A2AError where the cache folder is none, nor could become one."""
    folder = places.folder()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        lies = "is a file" if there == folder else f"would lie in {there}, which is a file"
        raise A2AError(f"the cache folder {folder} {lies}", hint=f"set {places.FOLDER} to a folder")


def cleared(key: str, shards: Sequence[places.ShardFile]) -> int:
    """Delete an encoder's shards, unless a run writes there; bytes freed."""
    lock = places.lock_of(key)
    try:
        if not lock.take():
            click.echo(f"{key[:SHORT]} is left: a run is computing it", err=True)
            return 0
        freed = places.delete(shards)
        if lock.held:
            places.clean(places.encoders() / key)
    except OSError as error:
        raise A2AError(f"{places.encoders() / key} cannot be deleted: {error.strerror}") from error
    finally:
        lock.release()
    return freed


def found() -> Iterator[Kept]:
    """Each encoder that has features; shards that cannot be read count by their size alone."""
    for folder in places.every():
        shards: list[places.ShardFile] = []
        with suppress(OSError):  # another user's
            shards = places.shards(folder)
        about: dict[str, Any] = {}
        entries = 0
        for shard in shards:
            with suppress(places.Damaged, OSError, KeyError, ValueError):
                header = places.header(shard.path)
                about, entries = json.loads(header.metadata["about"]), entries + header.tensors["keys"]["shape"][0]
        if shards:
            facts = {name: str(about.get(name, "?")) for name in ("encoder", "plugin", "path", "dtype")}
            yield Kept(key=folder.name, entries=entries, shards=shards, **facts)


def named(kept: Kept, name: str) -> bool:
    """Whether a word on the command line means it: the encoder with or without its distribution, or the key's beginning."""
    return name in (kept.encoder, kept.encoder.rpartition(":")[2]) or (len(name) >= 4 and kept.key.startswith(name))


def row(kept: Kept) -> list[str]:
    """One encoder's features for people."""
    name = kept.encoder.rpartition(":")[2]
    size = f"{places.size(kept.size)}, {kept.dtype}"
    return [kept.key[:SHORT], name, kept.plugin, kept.path or "-", f"{kept.entries:,}", size, when(kept.used)]


def machine(kept: Kept) -> dict[str, Any]:
    """One encoder's features for machines."""
    used = datetime.fromtimestamp(kept.used, UTC).isoformat(timespec="seconds")
    facts = {
        "key": kept.key,
        "encoder": kept.encoder,
        "plugin": kept.plugin,
        "weights": kept.path or None,
        "stored_as": kept.dtype,
    }
    return facts | {"media": kept.entries, "size": kept.size, "last_used": used, "folder": places.encoders() / kept.key}


def when(seconds: float) -> str:
    """In this place's time zone."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
