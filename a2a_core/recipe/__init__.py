"""Recipes: TOML to a checked tree of components, and back."""

from typing import TYPE_CHECKING, Any

from a2a_core.recipe.loading import Loaded, load_recipe
from a2a_core.recipe.recipe import Parts, Plugins, Recipe, structure_parts
from a2a_core.recipe.writing import fill, plain

if TYPE_CHECKING:
    from a2a_core.recipe.json_schema import schema
    from a2a_core.recipe.pages import page, reference

__all__ = [
    "Loaded",
    "Parts",
    "Plugins",
    "Recipe",
    "fill",
    "load_recipe",
    "page",
    "plain",
    "reference",
    "schema",
    "structure_parts",
]


def __getattr__(name: str) -> Any:
    """Documentation is imported when it is asked for: checking a recipe needs none."""
    if name == "schema":
        from a2a_core.recipe.json_schema import schema

        return schema
    if name in ("page", "reference"):
        from a2a_core.recipe import pages

        return getattr(pages, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
