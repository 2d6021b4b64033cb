"""Config classes back to plain values and to TOML, each value with its origin."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from a2a_core.options import Component, Options
from a2a_core.plugins import Catalog, owners
from a2a_core.recipe.tree import Node

if TYPE_CHECKING:
    from a2a_core.recipe.loading import Loaded
    from a2a_core.recipe.spans import Key

COLUMN = 48


def entries(value: Options, catalog: Catalog | None = None) -> dict[str, Any]:
    """An object's keys as a recipe has them, `use` first."""
    use = {"use": qualified(type(value), catalog)} if isinstance(value, Component) else {}
    return use | {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}


def qualified(cls: type[Component], catalog: Catalog | None = None) -> str:
    """`distribution:name`; without a catalog, the bare name for a class that no plugin was asked for."""
    if catalog is not None:
        return catalog.qualified(cls)
    return f"{owners[cls].dist}:{cls.name}" if cls in owners else cls.name


def plain(value: Any, catalog: Catalog | None = None) -> Any:
    """Components and what they hold as JSON's types: `use` qualified, paths as strings, what is None left out."""
    if isinstance(value, Options):
        return {name: plain(each, catalog) for name, each in entries(value, catalog).items() if each is not None}
    if isinstance(value, Mapping):
        return {name: plain(each, catalog) for name, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(each, catalog) for each in value]
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def toml(value: Any) -> str:
    """A plain value; tables inline."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key(name)} = {toml(each)}" for name, each in value.items()) + " }" if value else "{}"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value)


def key(name: str) -> str:
    """A key, quoted where it must be."""
    bare = name.isascii() and name.replace("-", "_").replace("_", "a").isalnum()
    return name if bare else toml(name)


def deep(value: Any) -> bool:
    """Is it written as tables of its own?"""
    many = isinstance(value, (tuple, list)) and bool(value)
    return isinstance(value, (Options, Mapping)) or (many and all(isinstance(each, (Options, Mapping)) for each in value))


def fill(loaded: Loaded) -> str:
    """The whole recipe as TOML, each value with its origin; a recipe that runs the same."""
    return "\n".join(lines(loaded.recipe, (), loaded.tree, loaded.catalog)).strip("\n") + "\n"


def lines(value: Options | Mapping[str, Any], path: Key, tree: Node, catalog: Catalog) -> Iterator[str]:
    """A table's own values, then the tables in it."""
    every = entries(value, catalog) if isinstance(value, Options) else dict(value)
    tables = {name: each for name, each in every.items() if deep(each)}
    names = tuple(part for part in path if isinstance(part, str))
    if path and (len(tables) < len(every) or not every):
        dotted = ".".join(map(key, names))
        yield ""
        yield f"[[{dotted}]]" if isinstance(path[-1], int) else f"[{dotted}]"
    for name, each in every.items():
        if name in tables:
            continue
        text = f"# {key(name)} =" if each is None else f"{key(name)} = {toml(plain(each))}"
        yield f"{text:{COLUMN}}  # {origin(tree, (*path, name))}"
    for name, each in tables.items():
        if isinstance(each, (Options, Mapping)):
            yield from lines(each, (*path, name), tree, catalog)
        else:
            for index, one in enumerate(each):
                yield from lines(one, (*path, name, index), tree, catalog)


def origin(tree: Node, path: Key) -> str:
    """Where a value comes from; in a comment, file names must behave."""
    node = tree.get(*path)
    text = "default" if node is None else str(node.at)
    return "".join(letter if letter.isprintable() else "?" for letter in text)
