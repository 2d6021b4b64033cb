"""Spans against the parser, on random documents in every way that TOML can be written."""

import json
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_core.recipe.spans import scan

NAMES = st.sampled_from(["a", "b-c", "d_e", "7", "ключ", "x.y", 'q"r', "s'p", "", "two words", "#", "=", "[t]"])
BLANKS = st.sampled_from(["", " ", "\t ", "   "])
GAPS = st.sampled_from(["", "\n", "  # a comment [x] = 1\n", "\n\n\t", "#\n"])
PLAIN = ["1", "0x1F", "1_000", "3.5e-2", "inf", "-nan", "true"]
DATES = ["2024-01-02", "2024-01-02 10:00:00", "2024-01-02T10:00:00Z", "10:00:00"]
STRINGS = [
    '"a\\"#b"',
    "'a\\'",
    '""',
    "''",
    '"""a\n"b" \\" ""c"""',
    "'''it's\n''x'''",
    '""""q"""""',
    "'''''q'''''",
    '"""\\\n  x"""',
]
SCALARS = st.sampled_from([*PLAIN, *DATES, *STRINGS])


@st.composite
def keys(draw: st.DrawFn, name: str) -> str:
    """One name as a key."""
    bare = bool(name) and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in name)
    quoted = json.dumps(name, ensure_ascii=draw(st.booleans()))
    literal = [f"'{name}'"] if "'" not in name else []
    return draw(st.sampled_from([quoted, *literal, *([name] * 3 if bare else [])]))


@st.composite
def values(draw: st.DrawFn, depth: int) -> str:
    """A value in a line, or an array over several."""
    kind = draw(st.integers(0, 3 if depth else 1))
    if kind < 2:
        return draw(SCALARS)
    if kind == 2:
        items = draw(st.lists(values(depth - 1), max_size=3))
        gaps = [draw(GAPS) for _ in range(2 * len(items) + 2)]
        body = ",".join(f"{gaps[2 * i]}{item}{gaps[2 * i + 1]}" for i, item in enumerate(items))
        return f"[{body}{',' if items and draw(st.booleans()) else ''}{gaps[-1]}]"
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    return "{" + ",".join([draw(pairs((name,), depth - 1)) for name in names]) + "}"


@st.composite
def pairs(draw: st.DrawFn, names: tuple[str, ...], depth: int) -> str:
    """`key = value`, the key dotted or not."""
    dotted = f"{draw(BLANKS)}.{draw(BLANKS)}".join([draw(keys(name)) for name in names])
    return f"{draw(BLANKS)}{dotted}{draw(BLANKS)}={draw(BLANKS)}{draw(values(depth))}{draw(BLANKS)}"


@st.composite
def tables(draw: st.DrawFn, path: tuple[str, ...] = (), depth: int = 2, header: str = "") -> str:
    """A table under its header: values, dotted tables, then tables and arrays of tables."""
    ends = st.sampled_from(["\n", " # x\n", "\r\n", "\n\n"])
    lines = [header + draw(ends)] if header else []
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    later = []
    for name in names:
        how = draw(st.integers(0, 4 if depth else 2))
        if how < 2:
            lines.append(draw(pairs((name,), 2)) + draw(ends))
        elif how == 2:
            inner = draw(st.lists(NAMES, min_size=1, max_size=2, unique=True))
            lines += [draw(pairs((name, each), 1)) + draw(ends) for each in inner]
        else:
            later.append((name, how))
    for name, how in later:
        dotted = f"{draw(BLANKS)}.{draw(BLANKS)}".join([draw(keys(each)) for each in (*path, name)])
        for _ in range(1 if how == 3 else draw(st.integers(1, 3))):
            opening = f"[{draw(BLANKS)}{dotted}{draw(BLANKS)}]"
            lines.append(draw(tables((*path, name), depth - 1, opening if how == 3 else f"[{opening}]")))
    return "".join(lines)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    """Every path in parsed data, and what lies there."""
    found = {path: value} if path else {}
    pairs_: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in pairs_:
        found |= paths(item, (*path, name))
    return found


@settings(max_examples=60, deadline=None)
@given(tables())
def test_spans_are_the_parsers_paths(text: str) -> None:
    text = text.replace("\r\n", " \n")
    wanted = paths(tomli.loads(text))
    spans = scan(text)
    assert spans.keys() == wanted.keys()
    for path, span in spans.items():
        written = text[slice(*span.key)]
        if isinstance(path[-1], str):
            assert list(tomli.loads(f"{written} = 0")) == [path[-1]]
        if not isinstance(wanted[path], dict) and not (isinstance(wanted[path], list) and span.key == span.value):
            assert repr(tomli.loads(f"v = {text[slice(*span.value)]}")["v"]) == repr(wanted[path])


def test_places_of_a_recipe() -> None:
    text = '[[trainer.groups]]\nmatch = "x"\n[[trainer.groups]]\nmatch = [1,\n 22]\n[trainer.groups.inner]\na.b = { c = 3 }\n'
    spans = scan(text)

    def shown(*path: str | int) -> tuple[str, str]:
        span = spans[path]
        return text[slice(*span.key)], text[slice(*span.value)]

    assert shown("trainer", "groups", 0, "match") == ("match", '"x"')
    assert shown("trainer", "groups", 1, "match", 1) == ("22", "22")
    assert shown("trainer", "groups", 1, "inner", "a", "b", "c") == ("c", "3")
    assert shown("trainer", "groups", 1, "inner") == ("inner", "inner")
    assert shown("trainer") == ("trainer", "trainer")


@pytest.mark.parametrize("text", ["", "# nothing", "\n\n", "a=1", "[a]", "[[a]]"])
def test_small_documents(text: str) -> None:
    assert scan(text).keys() == paths(tomli.loads(text)).keys()
