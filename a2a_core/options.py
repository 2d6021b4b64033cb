"""Options: frozen attrs classes whose fields are a recipe's keys, each with a type, bounds and one line of doc."""

from __future__ import annotations

import operator
from abc import ABC
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, dataclass_transform, overload

import attrs

T = TypeVar("T")
BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}
METADATA = "a2a"


class Location(str):
    """A path, or a URL such as `https://…`; in a recipe, a relative path is relative to the folder of its file."""


@attrs.frozen(slots=False)
class Doc:
    """What `option` keeps about one key."""

    text: str
    bounds: dict[str, float]
    refers_to: str = ""
    exists: bool = False


def doc(field: attrs.Attribute[Any]) -> Doc:
    """What was said of a field; ValueError for a field that is no `option`."""
    found = field.metadata.get(METADATA)
    if not isinstance(found, Doc):
        raise ValueError(f"`{field.name}` is declared without `option(...)`")
    return found


def within(wanted: Doc, value: Any) -> None:
    """Raise ValueError when a number, or a number in a collection, is out of bounds."""
    for item in value if isinstance(value, (tuple, list)) else value.values() if isinstance(value, dict) else (value,):
        if isinstance(item, bool) or not isinstance(item, (int, float)):
            continue
        broken = [f"{BOUNDS[name][0]} {bound:g}" for name, bound in wanted.bounds.items() if not BOUNDS[name][1](item, bound)]
        if broken:
            raise ValueError(f"must be {' and '.join(broken)}, got {item}")


def _validate(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
    try:
        within(doc(field), value)
    except ValueError as error:
        raise ValueError(f"`{field.name}` {error}") from None


@overload
def option(
    text: str, *, gt: float = ..., ge: float = ..., lt: float = ..., le: float = ..., refers_to: str = ..., exists: bool = ...
) -> Any: ...
@overload
def option(
    text: str,
    *,
    default: T,
    gt: float = ...,
    ge: float = ...,
    lt: float = ...,
    le: float = ...,
    refers_to: str = ...,
    exists: bool = ...,
) -> T: ...
def option(text: str, *, default: Any = attrs.NOTHING, refers_to: str = "", exists: bool = False, **bounds: float) -> Any:
    """One key of a recipe: its doc in a line, its default (none: required), its bounds.

    `refers_to`: the table that its value names; `exists`: a path to a file or folder that must be there before a run.
    """
    if isinstance(default, (dict, list)):
        default = attrs.Factory(default.copy)
    validator = _validate if bounds else None
    return attrs.field(default=default, validator=validator, metadata={METADATA: Doc(text, bounds, refers_to, exists)})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
class Options(ABC):  # noqa: B024 - its subclasses have abstract methods
    """Base of everything that a recipe can say. Subclassing makes a frozen attrs class; there is no decorator to forget.

    A rule over several fields is a method `check(self)` that raises ValueError; it runs when the fields are set.
    """

    if TYPE_CHECKING:
        __attrs_attrs__: ClassVar[Any]  # what attrs.fields and attrs.evolve ask of their argument

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        # equality and repr live here once: generated ones cost 0.4 ms a class at import
        attrs.define(cls, kw_only=True, frozen=True, slots=False, auto_attribs=True, eq=False, repr=False, match_args=False)

    def __attrs_post_init__(self) -> None:
        self.check()

    def check(self) -> None:  # noqa: B027 - not every class has a rule
        """Raise ValueError when fields contradict one another."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


def defined_by(cls: type[Options], name: str) -> type[Any] | None:
    """The class that an option of `cls` was declared in, last; None where it has none of that name."""
    bases = (base for base in cls.__mro__ if issubclass(base, Options) and attrs.has(base))
    return next((base for base in bases for field in attrs.fields(base) if field.name == name and not field.inherited), None)


class Component(Options):
    """One choice for `use = "<name>"` in the table of its kind."""

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""
    others: ClassVar[Mapping[str, str]] = {}
    """Keys that people look for here and that other components have: what to do about each."""

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """An instance small enough for tests (`a2a_core.testing`); files that it needs are written into `folder`."""
        return cls()
