"""What is learned from all rows when they are first opened, and kept beside their table: equal ids, how long lists are.

A later opening finds the file, whose name says what was asked, in the table's own folder, whose name says of which rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import xxhash
from filelock import FileLock
from numpy.typing import NDArray

from a2a_core.errors import A2AError, Problem
from a2a_data.cache import writable
from a2a_data.rows import FileRows

MOST_PROBLEMS = 5
NO_LIST = -1
LAYOUT = "3"
"""Changes whenever what is written does: old files are then not found any more."""
Learn = Callable[[], NDArray[np.integer]]


def refuse_same_ids(rows: FileRows, column: str) -> None:
    """A2AError where two of the rows, as many as are taken, have the same id."""
    pairs = np.load(learned(rows, "ids", column, lambda: compared(rows, column)))
    problems = [same_id(rows, *pair) for pair in pairs.tolist() if max(pair) < len(rows)]
    if problems:
        raise A2AError(problems)


def same_id(rows: FileRows, first: int, second: int) -> Problem:
    """What is wrong with two rows."""
    one, other = rows.raw(first), rows.raw(second)
    text = f"two rows have the id `{one.id}`: {one.place} and {other.place}"
    return Problem(text, hint='give each its own, name another column (`id = "…"`), or number the rows (`id = ""`)')


def item_counts(rows: FileRows, column: str) -> Path:
    """The file with the number of items that each row's list has; A2AError where a row that is taken has no list there."""
    path = learned(rows, "counts", column, lambda: counted(rows, column))
    wrong = np.flatnonzero(np.load(path, mmap_mode="r")[: len(rows)] == NO_LIST)[:MOST_PROBLEMS]
    if wrong.size:
        raise A2AError([no_list(rows, number, column) for number in wrong.tolist()])
    return path


def learned(rows: FileRows, what: str, column: str, learn: Learn) -> Path:
    """The file of what `learn` gives; whoever comes first writes it, whole or not at all."""
    folder = Path(rows.table.cache_files[0]["filename"]).parent
    path = folder / f"{what}-{LAYOUT}-{xxhash.xxh3_64_hexdigest(column.encode())}.npy"
    if not path.exists():
        with writable(), FileLock(path.with_suffix(".lock")):
            if not path.exists():
                draft = path.with_suffix(".draft.npy")
                np.save(draft, learn())
                draft.replace(path)
    return path


def compared(rows: FileRows, column: str) -> NDArray[np.int64]:
    """The first few pairs of rows with one id, by the later row: those of any limit are among them, if it has any.

    All rows are looked at, those beyond the limit too. Their ids' hashes are compared (8 bytes a row), and the ids where
    hashes are equal.
    """
    hashes = np.fromiter(map(xxhash.xxh3_64_intdigest, names(rows, column)), np.uint64, len(rows.table))
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    pairs = list(islice(same(rows, np.flatnonzero(np.isin(hashes, twice))), MOST_PROBLEMS))
    return np.array(pairs, np.int64).reshape(-1, 2)


def names(rows: FileRows, column: str) -> Iterator[bytes]:
    """The ids of all rows; what is no Unicode (half a pair) has bytes too."""
    for number, (name,) in enumerate(rows.values(column)):
        yield str(number if name is None else name).encode("utf-8", "surrogatepass")


def same(rows: FileRows, suspects: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Each row with the id of an earlier one, after the first that has it."""
    firsts: dict[str, int] = {}
    for index in suspects.tolist():
        first = firsts.setdefault(rows.raw(index).id, index)
        if first != index:
            yield first, index


def counted(rows: FileRows, column: str) -> NDArray[np.int32]:
    """The lengths of the lists of all rows, those beyond the limit too; NO_LIST where there stands something else."""
    counts = np.zeros(len(rows.table), np.int32)
    for number, (value,) in enumerate(rows.values(column)):
        try:
            counts[number] = len(rows.items(value))
        except ValueError:
            counts[number] = NO_LIST
    return counts


def no_list(rows: FileRows, number: int, column: str) -> Problem:
    """What a row has in place of a list."""
    row, what = rows.raw(number), "is no list"
    try:
        rows.items(row.fields.get(column))
    except ValueError as error:
        what = str(error)
    return Problem(f"{row.place}: `{column}` {what}", hint=lists(rows))


def lists(rows: FileRows) -> str:
    """Columns that could have been meant."""
    first = rows.raw(0).fields
    found = [name for name, value in first.items() if isinstance(value, list)]
    return f"`explode` names a column of lists{': ' + ' or '.join(f'`{name}`' for name in found) if found else ''}"
