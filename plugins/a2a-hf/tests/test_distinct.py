import tracemalloc
from types import SimpleNamespace
from typing import Any

import pytest

from a2a_core import A2AError
from a2a_hf.distinct import fields, firsts, keys


def parts(*names: str) -> Any:
    losses = {
        str(place): SimpleNamespace(head="number", distinct=lambda _, name=name: name) for place, name in enumerate(names)
    }
    return SimpleNamespace(heads={"number": None}, losses=losses)


def test_what_rows_hold_is_not_kept() -> None:
    """Pictures of a megabyte each: their digests are."""
    tracemalloc.start()
    found = list(firsts(place.to_bytes(1, "big") * 2**20 for place in (1, 2, 1, 3, 4, 5, 6, 7, 2)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [0, 1, 0, 3, 4, 5, 6, 7, 1]
    assert most < 4 * 2**20


class Rows(list[dict[str, Any]]):
    @property
    def rows(self) -> Any:
        return SimpleNamespace(column=lambda field: [row.get(field) for row in self])


def test_rows_that_share_a_value_share_a_key() -> None:
    rows: Any = Rows([{"a": "x"}, {"a": "y"}, {"a": "x"}, {}, {"a": ""}, {"a": ["x"]}, {"a": ["x"]}, {"a": []}, {"a": 1}])
    assert keys(parts("a"), rows) == [0, 1, 0, 3, 4, 5, 5, 7, 8]
    assert keys(parts(""), rows) is None


def test_a_field_that_no_row_has_is_told() -> None:
    class Bare(list[dict[str, Any]]):
        @property
        def rows(self) -> Any:
            return self

        def column(self, field: str) -> Any:
            raise KeyError(f"no row has a field `{field}`")

    rows: Any = Bare()
    with pytest.raises(A2AError, match=r"no two rows of a step may share `page`.*: no row has a field `page`"):
        keys(parts("page"), rows)


def test_several_losses_want_several_fields_distinct() -> None:
    """Rows 0 and 3 share nothing themselves, but each shares something with others in between."""
    rows: Any = Rows([{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 1, "b": 3}, {"a": 4, "b": 3}, {"b": 2}])
    assert fields(parts("a", "", "b", "a")) == ["a", "b"]
    assert keys(parts("a", "", "b", "a"), rows) == [0, 1, 0, 0, 1]
