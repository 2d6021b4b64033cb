"""Find plugins, load them one by one, and look components up by kind and name."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from inspect import signature
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import attrs
from pluggy import PluginManager

from a2a_core import hookspecs
from a2a_core.components import KINDS
from a2a_core.errors import A2AError, Problem, suggest
from a2a_core.installed import Point, canonical, points
from a2a_core.known import KNOWN
from a2a_core.options import METADATA, Component
from a2a_core.spelling import spell

CORE = "a2a-trainer"
SLOW = ("torch", "transformers", "tensorflow", "jax", "numpy", "pandas", "scipy", "sklearn", "PIL", "datasets")
"""Imports that belong into `build`; a plugin that brings one in at start-up is named by `a2a plugins doctor`."""
owners: dict[type[Component], Plugin] = {}
"""Which plugin a class was found in, for qualified names where no catalog is at hand."""


@attrs.frozen(slots=False, eq=False)
class Plugin:
    """One entry point, and what came of it."""

    name: str
    module: str
    dist: str
    version: str
    offers: Mapping[str, Mapping[str, str]] = attrs.Factory(dict)
    """Kind -> name -> where it lies (`package.module:Class`, a preset's file)."""
    errors: tuple[str, ...] = ()
    trace: str = ""
    seconds: float = 0.0
    """What importing it took."""
    slow: tuple[str, ...] = ()
    """Large packages that importing it brought in, though only `build` needs them."""
    point: Point | None = attrs.field(default=None, repr=False)

    @property
    def location(self) -> str:
        """Where it comes from: the folder of an editable installation, else the one that it is installed in."""
        return self.point.location if self.point else "?"


def among(name: str, dist: str, allow: frozenset[str]) -> bool:
    """Is a plugin allowed by its own name or its distribution's? The core always is."""
    return name in allow or canonical(dist) in {CORE, *map(canonical, allow)}


def left_out(dist: str, allow: frozenset[str]) -> bool:
    """Is a distribution installed, and none of its plugins allowed?"""
    its = [point for point in points() if canonical(point.dist) == canonical(dist)]
    return bool(its) and not any(among(point.name, point.dist, allow) for point in its)


def load(point: Point, manager: PluginManager) -> Plugin:
    """Import one plugin; whatever is wrong with it, SystemExit included, stays its own."""
    found = Plugin(point.name, point.module, point.dist, point.version, point=point)
    before, start = set(sys.modules), time.perf_counter()
    module, trace = guarded(lambda: import_module(point.module))
    found = attrs.evolve(
        found,
        seconds=time.perf_counter() - start,
        slow=tuple(name for name in SLOW if name in sys.modules and name not in before),
    )
    if trace is not None:
        return attrs.evolve(found, errors=(trace.error,), trace=trace.text)
    offers, errors, text = collect(module, manager)
    return attrs.evolve(found, offers=offers, errors=tuple(errors), trace=text)


class Failure(NamedTuple):
    """An exception of a plugin, in a line and in full."""

    error: str
    text: str


def guarded(call: Callable[[], Any]) -> tuple[Any, Failure | None]:
    """What a plugin's code returns, or how it fails; what it prints must not end up in what we print."""
    try:
        with redirect_stdout(sys.stderr):
            return call(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        import traceback

        return None, Failure(f"{type(error).__name__}: {' '.join(str(error).split())}", traceback.format_exc())


def collect(module: ModuleType, manager: PluginManager) -> tuple[dict[str, dict[str, str]], list[str], str]:
    """What a plugin's hooks offer, what is wrong with them, and the traceback of the last that fails."""
    offers: dict[str, dict[str, str]] = {}
    errors, trace = [], ""
    for name in [name for name in vars(module) if name.startswith("a2a_")]:
        hook = getattr(module, name)
        options = manager.parse_hookimpl_opts(module, name)
        kind = hookspecs.HOOKS.get(name)
        if options is None:
            errors += [f"`{name}` lacks `@hookimpl`"] if kind and callable(hook) else []
        elif kind is None:
            errors.append(f"no hook is called `{name}`: {suggest(name, hookspecs.HOOKS)}")
        elif taken := list(signature(hook).parameters):
            errors.append(f"`{name}` takes no arguments, not `{', '.join(taken)}`")
        else:
            offered, failure = guarded(hook)
            offers[kind], wrong = ({}, [f"fails: {failure.error}"]) if failure else sound(offered, kind)
            errors += [f"`{name}` {text}" for text in wrong]
            trace = failure.text if failure else trace
    return {kind: names for kind, names in offers.items() if names}, errors, trace


def sound(offered: object, kind: str) -> tuple[dict[str, str], list[str]]:
    """The good entries of what a hook returned, and what is wrong with the others."""
    if not isinstance(offered, Mapping):
        return {}, [f"must return a mapping name -> place, not {type(offered).__name__}"]
    good, wrong = {}, []
    for name, place in offered.items():
        if not isinstance(name, str) or not is_name(name):
            wrong.append(f"offers {name!r}, which is no name (letters, digits, `-`, `_`, `.`)")
        elif not isinstance(place, str) or not (kind == "preset" or is_place(place)):
            wrong.append(f"offers `{name}` at {place!r}, which is no `package.module:Name`")
        elif kind == "preset" and not place.endswith(".toml"):
            wrong.append(f"offers `{name}` at {place!r}, which is no `.toml` file")
        else:
            good[name] = place
    return good, wrong


def is_name(text: str) -> bool:
    """Letters, digits, `-`, `_` and `.`."""
    return text[:1].isalnum() and text.isascii() and text.translate({ord(sign): "a" for sign in "-_."}).isalnum()


def is_place(text: str) -> bool:
    """`package.module:Name`."""
    module, _, attribute = text.partition(":")
    return all(part.isidentifier() for path in (module, attribute) for part in path.split("."))


def fault(item: object, kind: str, name: str) -> str:
    """Why what lies at an offered place is not that component."""
    base = KINDS[kind]
    if not isinstance(item, type) or not issubclass(item, base):
        return f"is no {base.__name__}"
    if item.name != name:
        return f"calls itself `{item.name}`: its `name` must be `{name}`"
    if not item.__doc__:
        return "has no docstring: it is the reference page"
    if item.__abstractmethods__:
        return f"does not define {', '.join(f'`{method}`' for method in sorted(item.__abstractmethods__))}"
    try:
        attrs.resolve_types(item)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        return f"has a type that cannot be resolved: {error}"
    return next((f"has an option `{field.name}` {wrong}" for field in attrs.fields(item) if (wrong := field_fault(field))), "")


def field_fault(field: attrs.Attribute[Any]) -> str:
    """Why a recipe cannot say a field."""
    if METADATA not in field.metadata:
        return "that is declared without `option(...)`"
    if field.name in ("use", "name", "kind"):
        return "whose name is taken"
    if isinstance(field.default, float) and not isfinite(field.default):
        return "whose default is not finite"
    if isinstance(field.default, Path) and not field.default.is_absolute():
        return "whose default is a relative path: relative to what?"
    try:
        spell(field.type)
    except TypeError as error:
        return f"that no recipe can set: {error}"
    return ""


@attrs.frozen(slots=False, eq=False)
class Catalog:
    """What is installed and allowed, by kind and name."""

    plugins: tuple[Plugin, ...]
    left_out: tuple[str, ...] = ()
    """Distributions that `allow` left out."""
    _found: dict[tuple[str, str, str], type[Component]] = attrs.Factory(dict)

    @classmethod
    def installed(cls, allow: frozenset[str] | None = None) -> Catalog:
        """Load every plugin, or those whose entry point or distribution is in `allow`; the others are not imported."""
        every = points()
        chosen = [point for point in every if allow is None or among(point.name, point.dist, allow)]
        manager = PluginManager("a2a")
        out = {point.dist for point in every if point not in chosen}
        return cls(tuple(unique([load(point, manager) for point in chosen])), tuple(sorted(out)))

    def narrowed(self, allow: frozenset[str] | None) -> Catalog:
        """Only what is allowed."""
        if allow is None:
            return self
        chosen = tuple(plugin for plugin in self.plugins if among(plugin.name, plugin.dist, allow))
        out = {plugin.dist for plugin in self.plugins if plugin not in chosen}
        return Catalog(chosen, tuple(sorted(out.union(self.left_out))), self._found)

    def offers(self, kind: str) -> Iterator[tuple[Plugin, str]]:
        """Every name of a kind, with its plugin."""
        for plugin in self.plugins:
            for name in plugin.offers.get(kind, ()):
                yield plugin, name

    def names(self, kind: str) -> list[str]:
        """Names that a recipe can say; those of a clash qualified."""
        every = [name for _, name in self.offers(kind)]
        return sorted(name if every.count(name) == 1 else f"{plugin.dist}:{name}" for plugin, name in self.offers(kind))

    def versions(self) -> dict[str, str]:
        """Distribution -> version."""
        return {plugin.dist: plugin.version for plugin in self.plugins}

    def find(self, kind: str, use: str) -> type[Component]:
        """The component that a recipe means, imported now; A2AError says what to do when there is none."""
        plugin, name = self._choose(kind, use)
        key = (kind, plugin.dist, name)
        if key not in self._found:
            made: type[Component] = self._import(plugin, kind, name)
            self._found[key] = made
            owners[made] = plugin
        return self._found[key]

    def owner(self, cls: type[Component]) -> Plugin:
        """The plugin that offers a class."""
        for plugin in self.plugins:
            place = plugin.offers.get(cls.kind, {}).get(cls.name)
            if place is not None and self.find(cls.kind, f"{plugin.dist}:{cls.name}") is cls:
                return plugin
        raise A2AError(f"no installed plugin offers {cls.kind} `{cls.name}` ({cls.__module__}:{cls.__qualname__})")

    def qualified(self, cls: type[Component]) -> str:
        """`a2a-vision:patch`."""
        return f"{self.owner(cls).dist}:{cls.name}"

    def preset(self, text: str) -> Path:
        """The file of `distribution:name`."""
        plugin, name = self._choose("preset", text)
        path = Path(str(sys.modules[plugin.module].__file__)).parent / plugin.offers["preset"][name]
        if not path.is_file():
            raise A2AError(f"preset `{text}` of {plugin.dist} {plugin.version} should be at {path}, which is not there")
        return path

    def commands(self) -> dict[str, str]:
        """Further subcommands and where they lie; `distribution:name` where two have the same name."""
        every = [name for _, name in self.offers("command")]
        return {
            name if every.count(name) == 1 else f"{plugin.dist}:{name}": plugin.offers["command"][name]
            for plugin, name in self.offers("command")
        }

    def _choose(self, kind: str, use: str) -> tuple[Plugin, str]:
        dist, _, name = use.rpartition(":")
        hits = [plugin for plugin, its in self.offers(kind) if its == name and canonical(dist) in ("", canonical(plugin.dist))]
        if len(hits) == 1:
            return hits[0], name
        if hits:
            choices = " or ".join(f'`use = "{plugin.dist}:{name}"`' for plugin in hits)
            dists = " and ".join(plugin.dist for plugin in hits)
            raise A2AError(f"{kind} `{name}` is offered by {dists}", hint=f"write {choices}")
        raise A2AError([self._absent(kind, use, dist or KNOWN.get(kind, {}).get(name, ""), name)])

    def _absent(self, kind: str, use: str, dist: str, name: str) -> Problem:
        broken = [plugin for plugin in self.plugins if plugin.errors]
        if canonical(dist) in map(canonical, self.left_out):
            return Problem(f"{kind} `{name}` is offered by {dist}, which `plugins.allow` leaves out", hint=f"allow `{dist}`")
        for plugin in broken:
            if canonical(plugin.dist) == canonical(dist):
                text = f"{kind} `{name}` is offered by {dist} {plugin.version}, which fails to load: {plugin.errors[0]}"
                return Problem(text, hint=f"see `a2a plugins doctor {plugin.name}`")
        if dist and canonical(dist) not in (canonical(plugin.dist) for plugin in self.plugins):
            return Problem(f"{kind} `{name}` is offered by {dist}, which is not installed", hint=f"pip install {dist}")
        more = f" ({', '.join(plugin.dist for plugin in broken)}: broken, see `a2a plugins doctor`)" if broken else ""
        less = f" (`plugins.allow` leaves out {', '.join(self.left_out)})" if self.left_out else ""
        return Problem(f"unknown {kind} `{use}`", hint=suggest(name, self.names(kind)) + more + less)

    def _import(self, plugin: Plugin, kind: str, name: str) -> Any:
        place = plugin.offers[kind][name]
        who = f"{kind} `{name}` of {plugin.dist} {plugin.version} (`{place}`)"
        module, _, attribute = place.partition(":")

        def load_class() -> Any:
            found: object = import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
            return found

        item, failure = guarded(load_class)
        if failure:
            raise A2AError(f"{who} fails to load: {failure.error}", hint=f"see `a2a plugins doctor {plugin.name}`")
        if wrong := fault(item, kind, name):
            raise A2AError(f"{who} {wrong}", hint=f"tell the authors of {plugin.dist}")
        return item


def unique(plugins: Iterable[Plugin]) -> Iterator[Plugin]:
    """Two plugins of one distribution cannot offer the same name: nothing could tell them apart."""
    seen: dict[tuple[str, str, str], str] = {}
    for plugin in plugins:
        offers, errors = {kind: dict(names) for kind, names in plugin.offers.items()}, list(plugin.errors)
        for kind, names in plugin.offers.items():
            for name in names:
                other = seen.setdefault((canonical(plugin.dist), kind, name), plugin.name)
                if other != plugin.name:
                    del offers[kind][name]
                    errors.append(f"offers {kind} `{name}`, as `{other}` of the same distribution does")
        changed = len(errors) > len(plugin.errors)
        yield attrs.evolve(plugin, offers=offers, errors=tuple(errors)) if changed else plugin
