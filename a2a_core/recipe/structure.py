"""A tree of nodes to config classes, strictly: cattrs walks, exact types are ours, and every mistake says where it stands."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_origin

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from a2a_core.errors import A2AError, Problem, suggest
from a2a_core.options import Component, Doc, Location, Options, doc, within
from a2a_core.plugins import Catalog
from a2a_core.recipe.reading import utf8
from a2a_core.recipe.tree import Node, Setting
from a2a_core.spelling import SCALARS, choices, item, members, show, spell

O = TypeVar("O", bound=Options)  # noqa: E741
Hook = Callable[[Node, Any], Any]
MOST = 100
"""Problems that anyone reads."""
UNQUOTE = "without the quotes?"
QUOTE = "in quotes?"
QUOTE_TWICE = "in quotes, and in others around them that the shell takes away?"


def dotted(node: Node) -> str:
    """`encoders.image.width`."""
    return ".".join(map(str, node.path))


def refuse(node: Node, text: str, hint: str = "") -> NoReturn:
    """What is wrong with a value."""
    raise A2AError([Problem(f"`{dotted(node)}` {text}" if node.path else text, node.at, hint)])


def expect(node: Node, fits: bool, what: str, hint: str = "") -> None:
    """Complain of a value of the wrong type."""
    if not fits:
        refuse(node, f"must be {what}, got {show(node.value)}", hint)


def scalar(wanted: type, accepted: tuple[type, ...]) -> Hook:
    """A hook for exactly these types; `true` is no integer."""
    what = SCALARS[wanted][0]

    def structure(node: Node, _: Any) -> Any:
        value = node.value
        expect(node, type(value) in accepted, what, quoting(wanted, node))
        sensible(node)
        return wanted(value)

    return structure


def quoting(wanted: type, node: Node) -> str:
    """A hint for a string that should be none, and the reverse."""
    if isinstance(node.value, str):
        return UNQUOTE if reads_as(wanted, node.value) else ""
    if wanted is not str or isinstance(node.value, (dict, list)):
        return ""
    return QUOTE_TWICE if isinstance(node.document, Setting) else QUOTE


def reads_as(wanted: type, text: str) -> bool:
    """Whether a string holds what is wanted."""
    if wanted is bool:
        return text in ("true", "false")
    try:
        wanted(text)
    except ValueError:
        return False
    return True


def sensible(node: Node) -> None:
    """What JSON and other programs can hold, too."""
    value = node.value
    if isinstance(value, float) and not math.isfinite(value):
        refuse(node, "must be finite")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        refuse(node, "is beyond 64 bits")


def anything(node: Node, _: Any) -> Any:
    """Plain data: tables, lists, strings, numbers and booleans."""
    if isinstance(node.value, dict):
        return {name: anything(each, Any) for name, each in node.value.items()}
    if isinstance(node.value, list):
        return [anything(each, Any) for each in node.value]
    expect(node, type(node.value) in (str, int, float, bool), "a string, a number or a boolean", "dates are written in quotes")
    sensible(node)
    return node.value


def path(node: Node, _: Any) -> Path:
    """A path, relative to the folder of the file where it is written."""
    value = node.value
    expect(node, isinstance(value, str) and value != "" and "\0" not in value, "a path")
    made = Path(node.document.folder or "", value)
    if not utf8(str(made)):
        refuse(node, f"leads through a folder whose name is not UTF-8: {str(made)!r}")
    return made


def location(node: Node, _: Any) -> Location:
    """A URL as it is, a path as `path` has it."""
    value = node.value
    url = isinstance(value, str) and "://" in value
    return Location(value if url else path(node, _))


def choice(node: Node, wanted: Any) -> Any:
    """One of a few values, of exactly its type."""
    allowed: dict[Any, Any] = choices(wanted) or {}
    for each, made in allowed.items():
        if type(each) is type(node.value) and each == node.value:
            return made
    hint = suggest(node.value, map(str, allowed)) if isinstance(node.value, str) else ""
    return expect(node, False, spell(wanted), hint if hint.startswith("did") else "")


class Structurer:
    """Makes config classes of one tree."""

    def __init__(
        self,
        catalog: Catalog,
        root: Node,
        what: str = "the recipe",
        check_files: bool = False,
        left_out: Collection[str] = (),
    ) -> None:
        self.catalog, self.root, self.what, self.check_files = catalog, root, what, check_files
        self.left_out = left_out
        """Tables that lie elsewhere: what refers to them is not judged here."""
        self.walks: dict[type, Callable[[Node], Any]] = {}
        self.converter = conv = Converter(forbid_extra_keys=True)
        for wanted, accepted in ((int, (int,)), (float, (float, int)), (bool, (bool,)), (str, (str,))):
            conv.register_structure_hook(wanted, scalar(wanted, accepted))
        conv.register_structure_hook(Path, path)
        conv.register_structure_hook(Location, location)
        conv.register_structure_hook_func(lambda wanted: wanted is Any, anything)
        conv.register_structure_hook_func(lambda wanted: choices(wanted) is not None, choice)
        conv.register_structure_hook_func(lambda wanted: members(wanted) is not None, self.union)
        conv.register_structure_hook_factory(is_sequence, self.sequence)
        conv.register_structure_hook_factory(is_table, self.mapping)
        conv.register_structure_hook_func(lambda wanted: isinstance(wanted, type) and issubclass(wanted, Options), self.table)

    def make(self, wanted: type[O]) -> O:
        """The whole tree as one object; A2AError with everything that is wrong."""
        made: O = self.table(self.root, wanted)
        return made

    def union(self, node: Node, wanted: Any) -> Any:
        """The only type that the value looks like, else the first that takes it."""
        likely = [each for each in members(wanted) or () if resembles(node.value, each)]
        if len(likely) == 1:
            return self.converter.structure(node, likely[0])
        for each in likely:
            try:
                return self.converter.structure(node, each)
            except A2AError:
                continue
        return expect(node, False, spell(wanted))

    def sequence(self, wanted: Any) -> Hook:
        """Lists of one type of any length, or of one type a place."""
        types, made = get_args(wanted), get_origin(wanted)
        one = item(wanted)

        def structure(node: Node, _: Any) -> Any:
            expect(node, isinstance(node.value, list), spell(wanted))
            expect(node, one is not None or len(node.value) == len(types), f"{spell(wanted)}, {len(types)} values")
            each = types if one is None else repeat(one)
            return made(every(self.converter.structure, zip(node.value, each, strict=False)))

        return structure

    def mapping(self, wanted: Any) -> Hook:
        """Tables whose keys are free."""
        one = get_args(wanted)[1]

        def structure(node: Node, _: Any) -> Any:
            expect(node, isinstance(node.value, dict), spell(wanted))
            values = every(self.converter.structure, ((each, one) for each in node.value.values()))
            return dict(zip(node.value, values, strict=True))

        return structure

    def table(self, node: Node, wanted: type[Any]) -> Any:
        """A table whose keys are a class's options; for a component, the class that `use` names."""
        expect(node, isinstance(node.value, dict), spell(wanted))
        cls = self.used(node, wanted) if issubclass(wanted, Component) else wanted
        if cls not in self.walks:
            self.walks[cls] = self.walk(cls)
        return self.walks[cls](node)

    def used(self, node: Node, base: type[Component]) -> type[Component]:
        """The class of a component's table."""
        use = node.value.get("use")
        like = node.value.get("like")
        if use is None and like is not None and base.kind == "encoder":
            expect(like, isinstance(like.value, str), "a string", quoting(str, like))
            self.refer(like, "", Doc("", {}, "encoders"), like.value)
        if use is None:
            names = self.catalog.names(base.kind)
            text = f"`{dotted(node)}` does not say which {base.kind}: add `use`"
            raise A2AError([Problem(text, node.key, suggest("", names))])
        expect(use, isinstance(use.value, str), "a string")
        try:
            cls = self.catalog.find(base.kind, use.value)
        except A2AError as error:
            raise A2AError([attrs.evolve(problem, origin=use.at) for problem in error.problems]) from error
        expect(use, issubclass(cls, base), f"a {base.__name__}")
        return cls

    def walk(self, cls: type[Any]) -> Callable[[Node], Any]:
        """How a table becomes an instance of one class."""
        attrs.resolve_types(cls)
        component = issubclass(cls, Component)
        hooks: dict[str, Any] = {field.name: override(struct_hook=self.field(field)) for field in attrs.fields(cls)}
        convert = make_dict_structure_fn(
            cls, self.converter, _cattrs_forbid_extra_keys=True, _cattrs_use_linecache=False, **hooks
        )
        references = [field for field in attrs.fields(cls) if doc(field).refers_to]

        def structure(node: Node) -> Any:
            values = {name: value for name, value in node.value.items() if name != "use"} if component else node.value
            try:
                made = convert(values, cls)
            except BaseValidationError as error:
                raise A2AError(list(self.explain(error, cls, node))) from error
            for field in references:
                if field.name not in values:
                    self.refer(node, field.name, doc(field), getattr(made, field.name))
            return made

        return structure

    def field(self, field: attrs.Attribute[Any]) -> Hook:
        """One key: its type, its bounds, what it refers to; so one bad value hides no other."""
        wanted: Any = field.type
        about = doc(field)

        def structure(node: Node, _: Any) -> Any:
            made = self.converter.structure(node, wanted)
            try:
                within(about, made)
            except ValueError as error:
                refuse(node, str(error))
            self.refer(node, "", about, made)
            if about.exists and self.check_files:
                for each in made if isinstance(made, (tuple, list)) else (made,):
                    there(node, each)
            return made

        return structure

    def refer(self, node: Node, name: str, about: Doc, value: Any) -> None:
        """A name must be that of a table; `name` is the key when the value is its default."""
        if not about.refers_to or about.refers_to in self.left_out:
            return
        table = self.root.get(about.refers_to)
        known = table.value if table else {}
        for each in value if isinstance(value, (tuple, list)) else (value,):
            if each and isinstance(known, dict) and each not in known:
                here = f"{dotted(node)}.{name}" if name else dotted(node)
                text = f"`{here}`: there is no `[{about.refers_to}.{each}]`"
                raise A2AError([Problem(text, node.key if name else node.at, suggest(str(each), known))])

    def explain(self, error: BaseException, cls: type[Any], node: Node) -> Iterator[Problem]:
        """What cattrs found wrong with one table."""
        if isinstance(error, BaseValidationError):
            for inner in error.exceptions:
                yield from self.explain(inner, cls, node)
        elif isinstance(error, A2AError):
            yield from error.problems
        elif isinstance(error, ForbiddenExtraKeysError):
            names = [field.name for field in attrs.fields(cls)]
            where = f"a2a plugins show {cls.name}" if issubclass(cls, Component) else "a2a recipe schema"
            for name in [name for name in node.value if name in error.extra_fields][: MOST + 1]:
                hint = getattr(cls, "others", {}).get(name) or suggest(name, names, where)
                yield Problem(f"unknown key `{name}` for {self.title(cls, node)}", node[name].key, hint)
        elif isinstance(error, KeyError) and error.args[0] in (missing := self.missing(cls, node)):
            yield self.lacking(cls, node, error.args[0], missing[error.args[0]])
        elif getattr(error, "__notes__", None):
            raise error  # from a hook of ours: a mistake of ours
        elif isinstance(error, ValueError):
            yield Problem(f"{self.title(cls, node)}: {error}", node.key)
        else:
            text = f"{self.title(cls, node)}: its check() fails: {type(error).__name__}: {error}"
            yield Problem(text, node.key, "tell its authors")

    def lacking(self, cls: type[Any], node: Node, name: str, what: str) -> Problem:
        """A required key that is not there; it may have been, until `use` was changed."""
        text, gone = f"{self.title(cls, node)} needs `{name}`", node.former and node.former.get(name)
        if not gone:
            return Problem(text, node.key, what)
        return Problem(text, node["use"].at, f"another `use` starts its table anew, without the `{name}` of {gone.at}")

    def missing(self, cls: type[Any], node: Node) -> dict[str, str]:
        """Required keys that are not there, and what they are."""
        fields = (field for field in attrs.fields(cls) if field.default is attrs.NOTHING)
        return {field.name: doc(field).text for field in fields if field.name not in node.value}

    def title(self, cls: type[Any], node: Node) -> str:
        """What a table is, for messages."""
        if issubclass(cls, Component):
            owner = self.catalog.owner(cls)
            return f"{cls.kind} `{cls.name}` ({owner.dist} {owner.version})"
        return f"`{dotted(node)}`" if node.path else self.what


def every(structure: Hook, pairs: Iterable[tuple[Node, Any]]) -> list[Any]:
    """A collection's values, or everything that is wrong with them."""
    made, problems = [], []
    for node, wanted in pairs:
        try:
            made.append(structure(node, wanted))
        except A2AError as error:
            problems += error.problems
            if len(problems) > MOST:
                break
    if problems:
        raise A2AError(problems)
    return made


def resembles(value: Any, wanted: Any) -> bool:
    """Is it worth trying, and worth complaining in detail?"""
    if is_sequence(wanted):
        return isinstance(value, list)
    if is_table(wanted) or (isinstance(wanted, type) and issubclass(wanted, Options)):
        return isinstance(value, dict)
    if (several := choices(wanted)) is not None:
        return any(type(each) is type(value) for each in several)
    accepted: dict[Any, tuple[type, ...]] = {int: (int,), float: (float, int), bool: (bool,)}
    accepted |= dict.fromkeys((str, Path, Location), (str,))
    return wanted is Any or type(value) in accepted.get(wanted, ())


def is_sequence(wanted: Any) -> bool:
    """`tuple[…]` or `list[…]`."""
    return get_origin(wanted) in (tuple, list)


def is_table(wanted: Any) -> bool:
    """`dict[…]`."""
    return get_origin(wanted) is dict


def there(node: Node, file: Any) -> None:
    """A file, a folder or what a pattern means must be there."""
    if not isinstance(file, Path):
        return
    from glob import glob, has_magic

    if has_magic(str(file)) and not glob(str(file), recursive=True):  # noqa: PTH207
        refuse(node, f"is a pattern that no file fits: {file}")
    elif not has_magic(str(file)) and not os.path.exists(file):  # noqa: PTH110 - Path.exists raises where a name is too long
        refuse(node, f"names a file that is not there: {file}")
