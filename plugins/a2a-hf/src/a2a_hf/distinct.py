"""Rows that no step may hold together, because some loss would take one for another's opposite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from a2a_core import A2AError

if TYPE_CHECKING:
    from a2a_core.data import Prepared
    from a2a_core.recipe import Parts


def fields(parts: Parts) -> list[str]:
    """The rows' fields whose values some loss wants to be distinct within a step."""
    found = (loss.distinct(parts.heads[loss.head]) for loss in parts.losses.values())
    return list(dict.fromkeys(field for field in found if field))


def keys(parts: Parts, data: Prepared) -> Sequence[int] | None:
    """A number for each row, the same for rows that share a value of one of the fields; None where no loss asks.

    A2AError for a field that no row has.
    """
    wanted = fields(parts)
    if not wanted:
        return None
    alike = list(range(len(data)))
    """Of each row, one that stands before it with the same key, or itself."""
    for field in wanted:
        for row, first in enumerate(firsts(column(data, field))):
            one, other = root(alike, row), root(alike, first)
            alike[max(one, other)] = min(one, other)
    return [root(alike, row) for row in range(len(alike))]


def column(data: Prepared, field: str) -> Iterable[Any]:
    """Its value in every row."""
    try:
        return data.rows.column(field)
    except KeyError as error:
        raise A2AError(f"no two rows of a step may share `{field}`, as a loss has it: {error.args[0]}") from None


def firsts(values: Iterable[Any]) -> Iterable[int]:
    """For each value where it is found first; what is missing is like nothing else."""
    seen: dict[bytes, int] = {}
    for row, value in enumerate(values):
        missing = value is None or value in ("", [])
        yield row if missing else seen.setdefault(digest(value), row)


def digest(value: Any) -> bytes:
    """Sixteen bytes for a text, a file or anything else: a million of them are held."""
    held = (
        value if isinstance(value, bytes) else (value if isinstance(value, str) else repr(value)).encode(errors="surrogatepass")
    )
    return blake2b(held, digest_size=16).digest()


def root(alike: list[int], row: int) -> int:
    """The first of all rows that are alike."""
    while alike[row] != row:
        alike[row] = row = alike[alike[row]]
    return row
