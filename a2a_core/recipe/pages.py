"""The component reference, from the classes themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import attrs

from a2a_core.components import KINDS
from a2a_core.options import BOUNDS, Component, Options, doc
from a2a_core.plugins import Catalog
from a2a_core.recipe.writing import plain, toml
from a2a_core.spelling import spell


def meaning(field: attrs.Attribute[Any]) -> str:
    """What a key is, with its bounds and the table that it names."""
    about = doc(field)
    bounds = " and ".join(f"{BOUNDS[name][0]} {value:g}" for name, value in about.bounds.items())
    more = [bounds, f"a key of `[{about.refers_to}]`" if about.refers_to else ""]
    return about.text + "".join(f" ({text})" for text in more if text)


def default(field: attrs.Attribute[Any]) -> str:
    """A key's default as TOML."""
    value: Any = field.default
    if value is attrs.NOTHING:
        return "required"
    if isinstance(value, attrs.Factory):  # type: ignore[arg-type]
        value = value.factory()
    return "unset" if value is None else f"`{toml(plain(value))}`"


def cell(text: str) -> str:
    """Text for a table's cell."""
    return " ".join(text.replace("|", "\\|").split())


def page(cls: type[Options]) -> str:
    """One component in Markdown: what it is, then its keys, its own before its kind's."""
    attrs.resolve_types(cls)
    title = f"{cls.kind} `{cls.name}`" if issubclass(cls, Component) else cls.__name__
    rows = [
        f"| `{field.name}` | {cell(spell(field.type))} | {cell(default(field))} | {cell(meaning(field))} |"
        for field in sorted(attrs.fields(cls), key=lambda field: field.inherited)
    ]
    table = ["", "| key | type | default | meaning |", "|---|---|---|---|", *rows] if rows else []
    return "\n".join([f"### {title}", "", inspect.cleandoc(cls.__doc__ or ""), *table])


def chapter(catalog: Catalog, base: type[Component]) -> Iterator[str]:
    """One kind."""
    yield f"## {base.kind.capitalize()}s" if base.kind != "loss" else "## Losses"
    yield inspect.cleandoc(base.__doc__ or "")
    for plugin, name in sorted(catalog.offers(base.kind), key=lambda offer: (offer[1], offer[0].dist)):
        cls = catalog.find(base.kind, f"{plugin.dist}:{name}")
        yield f"{page(cls)}\n\nFrom `{plugin.dist}`."


def reference(catalog: Catalog) -> str:
    """Every component of every plugin, kind by kind, in Markdown."""
    return "\n\n".join(text for base in KINDS.values() for text in chapter(catalog, base)) + "\n"
