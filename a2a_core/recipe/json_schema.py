"""JSON Schema of everything installed, for editors."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args, get_origin

import attrs

from a2a_core.components import KINDS, LauncherConfig
from a2a_core.options import Component, Location, doc
from a2a_core.plugins import Catalog
from a2a_core.recipe.layers import DEFAULTS
from a2a_core.recipe.recipe import Recipe
from a2a_core.spelling import choices, item, members

DIALECT = "https://json-schema.org/draft/2020-12/schema"
SIMPLE: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    Path: {"type": "string", "minLength": 1},
    Location: {"type": "string", "minLength": 1},
    Any: {},
}
BOUND = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
LAYERS = {
    "extends": {"type": "string", "description": "a `.toml` file or a preset (`distribution:name`) that this recipe changes"},
    "without": {"type": "array", "items": {"type": "string"}, "description": "keys to take out of what it extends"},
}
SAID = [base for base in KINDS.values() if base is not LauncherConfig]
"""Kinds that a recipe names parts of."""


class Writer:
    """Schemas of types; `whole = False` leaves out what is required, for recipes that extend another."""

    def __init__(self, catalog: Catalog, whole: bool) -> None:
        self.catalog, self.whole = catalog, whole

    def of(self, wanted: Any) -> dict[str, Any]:
        """The schema of a type."""
        if wanted in SIMPLE:
            return dict(SIMPLE[wanted])
        if (several := choices(wanted)) is not None:
            return {"enum": list(several)}
        if (several_types := members(wanted)) is not None:
            each = [self.of(one) for one in several_types]
            return each[0] if len(each) == 1 else {"anyOf": each}
        if (one := item(wanted)) is not None:
            return {"type": "array", "items": self.of(one)}
        if get_origin(wanted) is tuple:
            places = [self.of(each) for each in get_args(wanted)]
            return {"type": "array", "prefixItems": places, "items": False, "minItems": len(places)}
        if get_origin(wanted) is dict:
            return {"type": "object", "additionalProperties": self.of(get_args(wanted)[1])}
        return {"$ref": f"#/$defs/{self.kind(wanted)}"} if issubclass(wanted, Component) else self.table(wanted)

    def kind(self, base: type[Component]) -> str:
        """The name of a kind's definition."""
        return base.kind if self.whole else f"partial-{base.kind}"

    def table(self, cls: type[Any], **more: Any) -> dict[str, Any]:
        """The schema of a class's options."""
        attrs.resolve_types(cls)
        properties = {field.name: self.option(field) for field in attrs.fields(cls)}
        made = {
            "type": "object",
            "description": inspect.cleandoc(cls.__doc__ or ""),
            "properties": properties | more,
            "additionalProperties": False,
        }
        required = [field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING]
        required = [name for name in required if cls is not Recipe or name not in DEFAULTS]
        return made | ({"required": required} if self.whole and required else {})

    def option(self, field: attrs.Attribute[Any]) -> dict[str, Any]:
        """The schema of one key."""
        about, made = doc(field), self.of(field.type)
        bounds = {BOUND[name]: value for name, value in about.bounds.items()}
        for each in [made, *made.get("anyOf", ())]:
            number = each.get("items") or each.get("additionalProperties") or each
            if bounds and number.get("type") in ("integer", "number"):
                number.update(bounds)
        return {"description": about.text} | made

    def component(self, base: type[Component]) -> dict[str, Any]:
        """The schema of a kind: which keys there are depends on `use`."""
        offers = sorted({(name, plugin.dist) for plugin, name in self.catalog.offers(base.kind)})
        bare = set(self.catalog.names(base.kind))
        default = DEFAULTS.get(base.kind, {}).get("use")
        known: list[str] = []
        rules = []
        for name, dist in offers:
            uses = [f"{dist}:{name}", *([name] if name in bare else [])]
            known += uses
            match: dict[str, Any] = {"properties": {"use": {"enum": uses}}}
            if name != default or name not in bare:
                match["required"] = ["use"]
            cls = self.catalog.find(base.kind, uses[0])
            rules.append({"if": match, "then": self.table(cls, use={"enum": uses})})
        made = {"type": "object", "properties": {"use": {"enum": sorted(known)}}} | ({"allOf": rules} if rules else {})
        return made | ({"required": ["use"]} if self.whole and default is None else {})


def schema(catalog: Catalog) -> dict[str, Any]:
    """One schema for recipes, those that extend others included."""
    whole, partial = Writer(catalog, True), Writer(catalog, False)
    return {
        "$schema": DIALECT,
        "title": "a2a recipe",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/partial-recipe"},
        "else": {"$ref": "#/$defs/recipe"},
        "$defs": {
            "recipe": whole.table(Recipe, **LAYERS),
            "partial-recipe": partial.table(Recipe, **LAYERS),
            **{writer.kind(base): writer.component(base) for writer in (whole, partial) for base in SAID},
        },
    }
