"""The laws of merging, and that every value keeps its place."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from a2a_core.recipe.tree import Document, Node, merge, tree, without

NAMES = st.sampled_from(["a", "b", "c"])
USES = st.sampled_from(["x", "y", "d:x", "e:x"])
LEAVES = st.one_of(st.integers(0, 3), st.lists(st.integers(0, 2), max_size=2), st.text("ab", max_size=1))
TABLES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=3), lambda inner: st.dictionaries(NAMES, inner | LEAVES, max_size=3), max_leaves=8
)
WITH_USE = st.recursive(
    st.dictionaries(NAMES | st.just("use"), LEAVES | USES, max_size=3),
    lambda inner: st.dictionaries(NAMES | st.just("use"), inner | LEAVES | USES, max_size=3),
    max_leaves=8,
)


def node(value: Any, source: str = "x") -> Node:
    return tree(value, Document(source))


def merged(*values: Any) -> Any:
    made = node(values[0])
    for value in values[1:]:
        made = merge(made, node(value))
    return made.plain()


@given(WITH_USE)
def test_nothing_changes_nothing(table: dict[str, Any]) -> None:
    assert merged(table, {}) == table
    assert merged({}, table) == table
    assert merged(table, table) == table


@given(TABLES, TABLES, TABLES)
def test_merging_is_associative(a: Any, b: Any, c: Any) -> None:
    assume(not covered(a, b, c))
    assert merged(a, b, c) == merge(node(a), merge(node(b), node(c))).plain()


def covered(a: Any, b: Any, c: Any) -> bool:
    """Is there a value between two tables, which hides the lower one if it is merged first?"""
    if not all(isinstance(each, dict) for each in (a, b, c)):
        return isinstance(a, dict) and isinstance(c, dict)
    return any(covered(a[name], b[name], c[name]) for name in a.keys() & b.keys() & c.keys())


@given(WITH_USE, WITH_USE)
def test_the_upper_layer_is_in_the_result(below: Any, above: Any) -> None:
    def inside(part: Any, whole: Any) -> bool:
        if isinstance(part, dict) and isinstance(whole, dict):
            return all(name in whole and inside(value, whole[name]) for name, value in part.items())
        return bool(part == whole)

    assert inside(above, merged(below, above))


@given(WITH_USE, WITH_USE)
def test_places_survive(below: Any, above: Any) -> None:
    both = merge(node(below, "below"), node(above, "above"))

    def check(made: Node, path: tuple[str, ...]) -> None:
        if isinstance(made.value, dict):
            for name, inner in made.value.items():
                check(inner, (*path, name))
        else:
            assert made.path == path
            layer = {"below": below, "above": above}[made.document.source]
            for name in path:
                layer = layer[name]
            assert layer == made.plain()

    check(both, ())


@pytest.mark.parametrize(
    ("below", "above", "result"),
    [
        ({"use": "x", "k": 1}, {"use": "y", "j": 2}, {"use": "y", "j": 2}),
        ({"use": "x", "k": 1}, {"use": "x", "j": 2}, {"use": "x", "k": 1, "j": 2}),
        ({"use": "x", "k": 1}, {"use": "d:x", "j": 2}, {"use": "d:x", "k": 1, "j": 2}),
        ({"use": "d:x", "k": 1}, {"use": "e:x", "j": 2}, {"use": "e:x", "j": 2}),
        ({"use": "x", "k": 1}, {"j": 2}, {"use": "x", "k": 1, "j": 2}),
        ({"use": "x", "k": 1}, {"use": 3}, {"use": 3, "k": 1}),
        ({"k": [1, 2]}, {"k": [3]}, {"k": [3]}),
        ({"k": {"a": 1}}, {"k": 3}, {"k": 3}),
        ({"k": 3}, {"k": {"a": 1}}, {"k": {"a": 1}}),
    ],
)
def test_merging(below: Any, above: Any, result: Any) -> None:
    assert merged(below, above) == result


def test_without() -> None:
    table = node({"a": {"b": 1, "c": 2}, "d": 3})
    assert without(table, ("a", "b")).plain() == {"a": {"c": 2}, "d": 3}
    assert without(table, ("a",)).plain() == {"d": 3}
    assert table.plain() == {"a": {"b": 1, "c": 2}, "d": 3}
    for names in (("x",), ("a", "x"), ("d", "x"), ("a", "b", "c")):
        with pytest.raises(KeyError):
            without(table, names)


def test_get() -> None:
    table = node({"a": [{"b": 1}]})
    found = table.get("a", 0, "b")
    assert found is not None
    assert found.value == 1
    assert found.path == ("a", 0, "b")
    for path in (("a", 1), ("a", "b"), ("a", 0, "b", "c"), ("x",)):
        assert table.get(*path) is None
