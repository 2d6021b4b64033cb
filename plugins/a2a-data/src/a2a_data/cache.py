"""Tables on disk, memory-mapped: the builder of `datasets` writes and finds them (its locks, folders and disk checks).

The key is made from what the files hold, never from where they lie: an edit in place is noticed, a moved folder is not
read again. Whoever runs first writes; other ranks wait for the lock and map the same file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import xxhash
from datasets.builder import Key
from datasets.exceptions import DatasetGenerationError

from a2a_core.errors import A2AError

LAYOUT = "2"
"""Changes whenever what the readers write does: old tables are then not found any more."""
TAIL = 1 << 16
Tables = Callable[[], Iterator[pa.Table]]


class _Builder(datasets.ArrowBasedBuilder):  # type: ignore[misc]  # the library is not typed
    def __init__(self, tables: Tables, name: str, key: str) -> None:
        self._tables = tables
        super().__init__(dataset_name=name, hash=key)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo()

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name="train", gen_kwargs={})]

    def _generate_tables(self) -> Iterator[tuple[Key, pa.Table]]:
        for number, table in enumerate(self._tables()):
            yield Key(0, number), table


def cached(name: str, key: str, tables: Tables) -> datasets.Dataset:
    """The data set `name` with this key; where it is not in the cache yet, `tables` are written first.

    What `tables` raises comes out as it is; A2AError when the cache cannot be written.
    """
    with quiet(), writable():
        builder = _Builder(tables, name, key)
        try:
            builder.download_and_prepare()
        except DatasetGenerationError as error:
            raise error.__cause__ or error from None
        return builder.as_dataset(split="train")


@contextmanager
def writable() -> Iterator[None]:
    """A2AError where the cache cannot be written."""
    try:
        yield
    except OSError as error:
        raise failure(error) from error


def failure(error: OSError) -> A2AError:
    """The error to show."""
    return A2AError(
        f"cannot write the cache of the data in {datasets.config.HF_DATASETS_CACHE}: {error}",
        hint="make room there, or set HF_DATASETS_CACHE to a folder with room",
    )


@contextmanager
def quiet() -> Iterator[None]:
    """`datasets` without progress bars and warnings."""
    bars, level = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if bars:
            datasets.enable_progress_bars()


def content_key(files: Sequence[Path], *settings: object) -> str:
    """From every byte of the files: for text, which costs far more to parse than to hash (3 to 5 GB/s)."""
    return listing_key(map(_hashed, files), *settings)


def stamp_key(files: Sequence[Path], *settings: object) -> str:
    """From size, times, inode and the last 64 KiB (parquet's own index lies there): for files too big to be read each time."""
    return listing_key((f"{stamped(file)} {_tail(file)}" for file in files), *settings)


def listing_key(lines: Iterable[str], *settings: object) -> str:
    """From what is known of each file."""
    key = xxhash.xxh3_128(LAYOUT.encode())
    for line in chain(map(repr, settings), lines):
        key.update(f"\n{line}".encode())
    return key.hexdigest()


def _hashed(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, xxhash.xxh3_128).hexdigest()


def stamped(file: Path) -> str:
    """Size, times and inode; a dash where there is no such file."""
    try:
        facts = file.stat()
    except FileNotFoundError:
        return "-"
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns} {facts.st_ino}"


def _tail(file: Path) -> str:
    with file.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - TAIL))
        return xxhash.xxh3_128_hexdigest(stream.read())
