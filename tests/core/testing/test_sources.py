"""A right source passes every check; each deliberate fault is caught by the check that is there for it."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from a2a_core import Row, SourceConfig, option


class Opened:
    """Lines of a file; the second has a field that the first lacks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path.read_text().split()

    def __len__(self) -> int:
        return len(self.lines)

    def fields(self, index: int) -> Mapping[str, Any]:
        return {"text": self.lines[index]} | ({"odd": True} if index % 2 else {})

    def __getitem__(self, index: int) -> Row:
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(index)
        return Row(self.fields(index), str(index), self.path.parent, f"{self.path.name}:{index + 1}")

    def column(self, field: str) -> Iterable[Any]:
        if field not in ("text", "odd"):
            raise KeyError(f"no row has `{field}`; there are text, odd")
        return [self.fields(index).get(field) for index in range(len(self))]


class Good(SourceConfig):
    """Words of a text file."""

    name = "words"
    rows: ClassVar[type[Opened]] = Opened
    path: Path = option("a text file")

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        (folder / "words.txt").write_text("one two three")
        return cls(path=folder / "words.txt")

    def build(self) -> Any:
        return self.rows(self.path)


def test_a_right_source_passes_every_check(judge: Any) -> None:
    assert judge(Good) == set()
    assert judge.skips(Good) == set()


class GivesFields(Opened):
    def __getitem__(self, index: int) -> Any:
        return dict(super().__getitem__(index).fields)


class NumbersByInt(Opened):
    def __getitem__(self, index: int) -> Row:
        row = super().__getitem__(index)
        return row._replace(id=int(row.id))  # type: ignore[arg-type]


class CallsAllRowsAlike(Opened):
    def __getitem__(self, index: int) -> Row:
        return super().__getitem__(index)._replace(id="row")


class HasARelativeRoot(Opened):
    def __getitem__(self, index: int) -> Row:
        return super().__getitem__(index)._replace(root=Path())


class SaysNoPlace(Opened):
    def __getitem__(self, index: int) -> Row:
        return super().__getitem__(index)._replace(place="")


class ReadsOn(Opened):
    position = 0

    def fields(self, index: int) -> Mapping[str, Any]:
        self.position += 1
        return {"text": self.lines[self.position % len(self.lines)]}


class GrowsWhenOpened(Opened):
    opened: ClassVar[list[int]] = []

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.opened.append(1)
        self.lines += ["more"] * len(self.opened)


class WantsAnInt(Opened):
    def __getitem__(self, index: int) -> Row:
        if type(index) is not int:
            raise TypeError(f"no integer: {index!r}")
        return super().__getitem__(index)


class GoesRound(Opened):
    def __getitem__(self, index: int) -> Row:
        return super().__getitem__(index % len(self))


class RaisesKeyErrors(Opened):
    def __getitem__(self, index: int) -> Row:
        try:
            return super().__getitem__(index)
        except IndexError:
            raise KeyError(index) from None


class KeepsItsFileOpen(Opened):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.file = path.open()

    def __del__(self) -> None:
        self.file.close()


class LosesRowsInCopies(Opened):
    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, lines=[*state["lines"][1:], "another"])


class LeavesOutRowsWithout(Opened):
    def column(self, field: str) -> Iterable[Any]:
        return [value for value in super().column(field) if value is not None]


class KnowsEveryColumn(Opened):
    def column(self, field: str) -> Iterable[Any]:
        return [self.fields(index).get(field) for index in range(len(self))]


class SaysNotWhichColumns(Opened):
    def column(self, field: str) -> Iterable[Any]:
        try:
            return super().column(field)
        except KeyError:
            raise KeyError(field) from None


class FailsOnUnknownColumns(Opened):
    def column(self, field: str) -> Iterable[Any]:
        try:
            return super().column(field)
        except KeyError:
            raise RuntimeError(field) from None


class DecodesMedia(Opened):
    def fields(self, index: int) -> Mapping[str, Any]:
        return {"text": [Path(self.lines[index])]}


@pytest.mark.parametrize(
    ("rows", "check", "says", "besides"),
    [
        (GivesFields, "rows_are_well_formed", "a2a_core.Row", None),
        (NumbersByInt, "rows_are_well_formed", "id must be a string", set()),
        (CallsAllRowsAlike, "rows_are_well_formed", "words.txt:1 and words.txt:2", set()),
        (HasARelativeRoot, "rows_are_well_formed", "absolute", set()),
        (SaysNoPlace, "rows_are_well_formed", "train.jsonl:17", set()),
        (ReadsOn, "same_index_same_row", "asked for again, is another row", None),
        (GrowsWhenOpened, "same_index_same_row", "opened again it has", None),
        (WantsAnInt, "indices_work", "operator.index", set()),
        (GoesRound, "indices_work", "rows[3] of 3 rows gives", set()),
        (RaisesKeyErrors, "indices_work", "raises KeyError", set()),
        (KeepsItsFileOpen, "rows_are_picklable", "an open file", set()),
        (LosesRowsInCopies, "rows_are_picklable", "rows[0] of the pickled rows", set()),
        (LeavesOutRowsWithout, "column_is_a_field_of_every_row", "[None, True, None] against [True]", set()),
        (KnowsEveryColumn, "column_is_a_field_of_every_row", "raises nothing", set()),
        (SaysNotWhichColumns, "column_is_a_field_of_every_row", "list ['odd', 'text']", set()),
        (FailsOnUnknownColumns, "column_is_a_field_of_every_row", "raises RuntimeError", set()),
        (DecodesMedia, "fields_are_plain", "rows[0].fields['text'] is list", {"column_is_a_field_of_every_row"}),
    ],
)
def test_a_faulty_source_is_caught(judge: Any, rows: type[Opened], check: str, says: str, besides: set[str] | None) -> None:
    faulty = type("Faulty", (Good,), {"__doc__": "Deliberately wrong in one way.", "__module__": __name__, "rows": rows})
    assert says in judge.says(faulty, check)
    if besides is not None:
        assert {check} <= judge(faulty) <= {check, *besides}


class WithOneRow(Good):
    """Has too little to compare."""

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        (folder / "words.txt").write_text("one")
        return cls(path=folder / "words.txt")


def test_one_row_is_too_little(judge: Any) -> None:
    assert judge(WithOneRow) == {"can_be_tested"}
    assert "has 1 rows" in judge.says(WithOneRow, "can_be_tested")
