"""Sets of labels: how a row says them, and what is learned of them from the training rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from a2a_classification.labels import MOST_CLASSES, in_order, name_of, stranger

if TYPE_CHECKING:
    from torch import Tensor


class LabelSetProcessor:
    """A row's labels -> for each known label whether it applies, None where the row does not say."""

    def __init__(self, field: str, names: Sequence[str], separator: str = "") -> None:
        self.field, self.names, self.separator = field, tuple(names), separator
        self._known = frozenset(self.names)

    def __call__(self, fields: Mapping[str, Any]) -> list[bool | None] | None:
        """None for a row that says nothing; ValueError for a label that is none of the known ones."""
        raw = fields.get(self.field)
        if raw is None:
            return None
        said = labels(self.field, raw, self.separator)
        for name in said:
            if name not in self._known:
                raise ValueError(f"field `{self.field}`: {stranger(name, self.names)}")
        others = None if isinstance(raw, Mapping) else False
        target = [said.get(name, others) for name in self.names]
        return None if all(each is None for each in target) else target

    def pad(self, targets: Sequence[list[bool | None] | None]) -> dict[str, Tensor]:
        """`labels` (B, C) float, 1 where one applies, and `known` (B, C) bool, false where the row does not say."""
        import torch

        rows = [[None] * len(self.names) if target is None else target for target in targets]
        return {
            "labels": torch.tensor([[float(bool(each)) for each in row] for row in rows], dtype=torch.float32),
            "known": torch.tensor([[each is not None for each in row] for row in rows], dtype=torch.bool),
        }


def labels(field: str, raw: Any, separator: str) -> dict[str, bool | None]:
    """The labels that a row names, and whether each applies; ValueError for what is no such thing."""
    if isinstance(raw, Mapping):
        return {name_of(field, name): answer(field, name, said) for name, said in raw.items()}
    if isinstance(raw, str) and separator:
        raw = [part.strip() for part in raw.split(separator)] if raw.strip() else []
    if isinstance(raw, (list, tuple)):
        return {name_of(field, name): True for name in raw}
    hint = "; set `separator` to what stands between the labels of a text" if isinstance(raw, str) else ""
    shown = f"{type(raw).__name__} {str(raw)[:80]}"
    raise ValueError(f"field `{field}`: labels are a list of names, or a table of name = 0 or 1; this is {shown}{hint}")


def answer(field: str, name: str, said: Any) -> bool | None:
    """Whether a table says that a label applies."""
    if said is None:
        return None
    if not isinstance(said, (bool, int, float)) or said not in (0, 1):
        raise ValueError(f"field `{field}`: whether `{name}` applies is 0 or 1, this is {type(said).__name__} {str(said)[:80]}")
    return bool(said)


def learned_labels(field: str, rows: Iterable[Any], separator: str) -> tuple[str, ...]:
    """The labels that a column has, sorted. Values that are wrong are left for the rows' own error."""
    found: dict[str, None] = {}
    wrong = ""
    for raw in rows:
        if raw is None:
            continue
        try:
            found |= dict.fromkeys(labels(field, raw, separator))
        except ValueError as error:
            wrong = wrong or str(error)
        if len(found) > MOST_CLASSES:
            raise ValueError(
                f"field `{field}` has more than {MOST_CLASSES} different labels; if they are classes, set `classes`"
            )
    if not found:
        raise ValueError(wrong or f"field `{field}`: no training row has a label")
    return in_order(found)
