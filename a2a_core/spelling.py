"""The types that an option can have, and how each is called."""

from __future__ import annotations

import enum
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from a2a_core.options import Component, Location, Options

SCALARS: dict[Any, tuple[str, str]] = {
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "booleans"),
    str: ("a string", "strings"),
    Path: ("a path", "paths"),
    Location: ("a path or a URL", "paths or URLs"),
    Any: ("anything", "values"),
}
"""Type -> one of it, several of it."""


def members(wanted: Any) -> list[Any] | None:
    """A union's types, without None, which TOML cannot say; None for what is no union."""
    if get_origin(wanted) not in (Union, types.UnionType):
        return None
    return [each for each in get_args(wanted) if each is not type(None)]


def choices(wanted: Any) -> dict[Any, Any] | None:
    """What a recipe may say for a Literal or an Enum -> what it becomes; None for other types."""
    if get_origin(wanted) is Literal:
        return {item: item for item in get_args(wanted)}
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return {member.value: member for member in wanted}
    return None


def item(wanted: Any) -> Any:
    """What a homogeneous list holds; None for other types."""
    args = get_args(wanted)
    if get_origin(wanted) is list or (get_origin(wanted) is tuple and args[1:] == (...,)):
        return args[0]
    return None


def spell(wanted: Any, many: bool = False) -> str:
    """A type in words; TypeError for one that a recipe cannot express."""
    if wanted in SCALARS:
        return SCALARS[wanted][many]
    if (several := members(wanted)) is not None:
        return " or ".join(spell(each, many) for each in several)
    if (allowed := choices(wanted)) is not None:
        return " or ".join(map(quoted, allowed))
    if (one := item(wanted)) is not None:
        return f"{'lists' if many else 'a list'} of {spell(one, True)}"
    if get_origin(wanted) is tuple:
        return f"[{', '.join(spell(each) for each in get_args(wanted))}]"
    if get_origin(wanted) is dict and get_args(wanted)[0] is str:
        return f"{'tables' if many else 'a table'} of {spell(get_args(wanted)[1], True)}"
    if isinstance(wanted, type) and issubclass(wanted, Component):
        return f"{wanted.kind}s" if many else f"a {wanted.kind}"
    if isinstance(wanted, type) and issubclass(wanted, Options):
        return "tables" if many else "a table"
    raise TypeError(f"TOML cannot express {wanted.__name__ if isinstance(wanted, type) and not get_args(wanted) else wanted}")


def quoted(value: Any) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def show(value: object) -> str:
    """A parsed value for a message: what it is, and its beginning."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= 2**63:
        return "an integer beyond 64 bits"
    names: dict[Any, str] = {bool: "a boolean", int: "an integer", float: "a number", str: "a string"}
    text = quoted(value)
    return f"{names.get(type(value), f'a {type(value).__name__}')}, {text[:60]}{'…' if len(text) > 60 else ''}"
