"""Encoders that share weights: `like` names the one whose options a table has, where it does not say them itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from a2a_core.errors import A2AError, Problem
from a2a_core.options import Component
from a2a_core.plugins import Catalog
from a2a_core.recipe.recipe import Recipe
from a2a_core.recipe.tree import Node


def table(tree: Node, name: str) -> dict[str, Node]:
    """A table's entries; none where it is absent or something else, which is reported elsewhere."""
    node = tree.get(name)
    return node.value if node is not None and isinstance(node.value, dict) else {}


def used(node: Node | None, kind: str, catalog: Catalog) -> type[Component] | None:
    """The class of a component's table; None where that cannot be told, which is reported elsewhere."""
    use = node.get("use") if node is not None else None
    if use is None or not isinstance(use.value, str):
        return None
    try:
        return catalog.find(kind, use.value)
    except A2AError:
        return None


def alike(tree: Node, catalog: Catalog) -> Node:
    """The tree, in which each encoder that is `like` another has the options of that one's table, too."""
    encoders = table(tree, "encoders")
    found = {name: inherited(node, encoders, catalog) for name, node in encoders.items()}
    if all(found[name] is node for name, node in encoders.items()):
        return tree
    above = tree["encoders"]
    changed = Node(found, above.document, above.path, above.former)
    return Node({**tree.value, "encoders": changed}, tree.document, tree.path, tree.former)


def inherited(node: Node, encoders: dict[str, Node], catalog: Catalog) -> Node:
    """One encoder's table with what it does not say itself."""
    owner, seen = liked(node, encoders), [node]
    while owner is not None and owner.get("use") is None and owner not in seen:  # which is a mistake, told by `unlike`
        seen.append(owner)
        owner = liked(owner, encoders)
    cls: Any = used(owner, "encoder", catalog)
    if owner is None or owner is node or cls is None or not isinstance(owner.value, dict):
        return node
    shared = {name: each for name, each in owner.value.items() if name not in cls.own and name != "like"}
    return Node(shared | node.value, node.document, node.path, node.former)


def liked(node: Node, encoders: dict[str, Node]) -> Node | None:
    """The table that `like` names, if there is such a one."""
    like = node.get("like")
    return encoders.get(like.value) if like is not None and isinstance(like.value, str) else None


def unlike(recipe: Recipe, tree: Node) -> Iterator[Problem]:
    """Encoders that cannot share weights with those that they are `like`."""
    for name, encoder in recipe.encoders.items():
        owner = recipe.encoders.get(encoder.like)
        if owner is None:
            continue
        at = tree["encoders"][name]
        if owner.like:
            what = "itself" if encoder.like == name else f"`{encoder.like}`, which is like `{owner.like}`"
            yield Problem(f"encoder `{name}` is like {what}", at["like"].at, "name the encoder that has the weights")
            continue
        other = [] if type(owner) is type(encoder) else ["use"]
        fields = () if other else attrs.fields(type(encoder))
        own = {field.name for field in fields} - encoder.reading - {"like"}
        for key in other or sorted(key for key in own if getattr(owner, key) != getattr(encoder, key)):
            text = f"encoder `{name}` has the weights of `{encoder.like}`, and `{key}` is another there"
            where = at.get(key)
            yield Problem(text, at.key if where is None else where.at, f"leave `{key}` away, or do without `like`")


def told_once(problems: Sequence[Problem], tree: Node) -> list[Problem]:
    """Without what is wrong with an encoder only because it is so with the one that it is `like`."""
    places = {node.key for node in table(tree, "encoders").values() if node.get("like") is not None}
    others = {problem.message for problem in problems if problem.origin not in places}
    return [problem for problem in problems if problem.origin not in places or problem.message not in others]
