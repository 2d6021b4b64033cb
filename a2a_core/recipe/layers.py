"""One tree from defaults < extends < recipe < environment < `--without` < `--set`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tomli

from a2a_core.errors import A2AError, Origin, Problem, suggest
from a2a_core.recipe.reading import DEEPEST, depth, fail, parse, read, real, utf8
from a2a_core.recipe.tree import Document, Node, Setting, merge, tree, without

Preset = Callable[[str, "frozenset[str] | None"], Path]
"""`distribution:name` and what is allowed -> file."""

DEFAULTS = {"collator": {"use": "pad"}, "trainer": {"use": "hf"}, "backend": {"use": "single"}}
PREFIX = "A2A__"
ONLY_IN_FILES = ("extends", "without")


class Override(NamedTuple):
    """One value from outside the recipe."""

    source: str
    names: tuple[str, ...]
    value: Node
    """The root of a tree that has this value alone."""

    def __str__(self) -> str:
        leaf = self.value.get(*self.names)
        return f"{self.source}: {leaf.at.text if leaf else '.'.join(self.names)}"


class Layers(NamedTuple):
    """The merged tree, which overrides are in it, and what was wrong with others."""

    tree: Node
    overrides: tuple[str, ...]
    problems: list[Problem]


def load_layers(
    path: Path, preset: Preset, environ: Mapping[str, str], removed: Sequence[str] = (), sets: Sequence[str] = ()
) -> Layers:
    """All layers in one tree; A2AError when a file cannot be read."""
    problems: list[Problem] = []
    environment = list(attempt(from_environment(environ), problems))
    settings = list(attempt(((text, "--set") for text in sets), problems))
    above = allowed([override.value for override in reversed([*environment, *settings])])
    table = load_file(path, preset, above)
    for override in environment:
        table = merge(table, override.value)
    for text in removed:
        try:
            table = remove(table, text, Origin("--without", text, length=len(text)))
        except A2AError as error:
            problems += error.problems
    for override in settings:
        table = merge(table, override.value)
    said = [str(override) for override in (*environment, *settings) if in_force(table, override)]
    return Layers(table, (*said, *(f"--without: {text}" for text in removed)), problems)


def in_force(table: Node, override: Override) -> bool:
    """Does nothing above override it in turn?"""
    here, own = table.get(*override.names), override.value.get(*override.names)
    return here is not None and own is not None and (here is own or isinstance(own.value, dict))


def allowed(layers: Iterable[Node]) -> frozenset[str] | None:
    """What the topmost layer that says so allows; None where no plugin is left out."""
    for layer in layers:
        node = layer.get("plugins", "allow")
        if node is not None and isinstance(node.value, list):
            names = frozenset(item.value for item in node.value if isinstance(item.value, str))
            return names or None
    return None


def load_file(path: Path, preset: Preset, allow: frozenset[str] | None = None, chain: tuple[Path, ...] = ()) -> Node:
    """A file over what it extends."""
    file = real(path)
    if file.suffix != ".toml":
        raise fail(
            f"{path} is no `.toml` file" if file.name == path.name else f"{path} leads to {file}, which is no `.toml` file"
        )
    if file in chain:
        raise fail(f"`extends` goes in a circle: {' -> '.join(each.name for each in (*chain[chain.index(file) :], file))}")
    if len(chain) == DEEPEST:
        raise fail(f"`extends` goes through more than {DEEPEST} files")
    table = parse(file, read(file))
    below, gone = (table.value.pop(name, None) for name in ONLY_IN_FILES)
    base = tree(DEFAULTS, Document("default"))
    if below is not None:
        base = extended(below, file, preset, allowed([table]) if allow is None else allow, (*chain, file))
    for node in removals(gone):
        base = remove(base, node.value, node.at)
    return merge(base, table)


def extended(node: Node, file: Path, preset: Preset, allow: frozenset[str] | None, chain: tuple[Path, ...]) -> Node:
    """What `extends` names; what is wrong there is shown there, or here where it has no place."""
    name = node.value
    if not isinstance(name, str) or not name:
        raise fail('`extends` wants a `.toml` file or a preset (`"distribution:name"`)', node.at)
    try:
        if name.endswith(".toml"):
            return load_file(file.parent / name, preset, allow, chain)
        if ":" in name:
            return load_file(preset(name, allow), preset, allow, chain)
    except A2AError as error:
        raise A2AError([Problem(each.message, each.origin or node.at, each.hint) for each in error.problems]) from None
    raise fail('`extends` wants a `.toml` file or a preset (`"distribution:name"`)', node.at)


def removals(node: Node | None) -> list[Node]:
    """What `without` names."""
    if node is None:
        return []
    if not isinstance(node.value, list) or not all(isinstance(item.value, str) for item in node.value):
        raise fail('`without` wants a list of keys, such as `["encoders.sound"]`', node.at)
    return node.value


def remove(table: Node, dotted: str, origin: Origin) -> Node:
    """The tree without a key."""
    names = key(dotted)
    if names is None:
        raise fail(f"`{dotted}` is no key", origin)
    try:
        return without(table, names)
    except KeyError:
        known = {
            f"{name}.{each}" for name, child in table.value.items() if isinstance(child.value, dict) for each in child.value
        }
        hint = suggest(dotted, known | table.value.keys())
        raise fail(f"`without` names `{dotted}`, which is not there", origin, hint if hint.startswith("did") else "") from None


def key(dotted: str) -> tuple[str, ...] | None:
    """A dotted key's parts as TOML reads them; None for what is no key."""
    if "\n" in dotted or "=" in re.sub(r'"[^"]*"|\'[^\']*\'', "", dotted) or dotted.lstrip()[:1] in ("[", "#"):
        return None
    try:
        found: Any = tomli.loads(f"{dotted} = 0")
    except (tomli.TOMLDecodeError, RecursionError, ValueError):
        return None
    names = []
    while isinstance(found, dict):
        if len(found) != 1:
            return None
        name, found = next(iter(found.items()))
        names.append(name)
    return tuple(names)


def attempt(pairs: Iterable[tuple[str, str]], problems: list[Problem]) -> Iterable[Override]:
    """Those settings that can be read."""
    for text, source in pairs:
        try:
            yield setting(text, source)
        except A2AError as error:
            problems += error.problems


def from_environment(environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """`A2A__TRAINER__EPOCHS=3` as `trainer.epochs=3`."""
    for name in sorted(environ):
        if name.startswith(PREFIX):
            yield f"{name[len(PREFIX) :].lower().replace('__', '.')}={environ[name]}", f"environment {name}"


def setting(text: str, source: str) -> Override:
    """`a.b.c=value`; a value that is no TOML is a string."""
    dotted, equals, value = text.partition("=")
    document = Setting(source, dotted, value)
    if not utf8(text):
        raise fail(f"{source}: not UTF-8")
    names = key(dotted)
    if not equals or names is None:
        raise fail("expected `key.path=value`", Origin(source, text, length=len(dotted) or 1))
    if names[0] in ONLY_IN_FILES:
        raise fail(f"`{names[0]}` can stand in a file only", document.place((), key=True))
    node = tree(settled(value, document), document, names)
    for level in range(len(names) - 1, -1, -1):
        node = Node({names[level]: node}, document, names[:level])
    return Override(source, names, node)


def settled(text: str, document: Document) -> Any:
    """A setting's value."""
    try:
        parsed = tomli.loads(f"v = {text}")
    except (tomli.TOMLDecodeError, RecursionError, ValueError) as error:
        if text.lstrip()[:1] in ("[", "{", '"', "'"):
            raise fail(f"not a TOML value: {error}", document.place(())) from None
        return text.strip()
    if len(parsed) != 1:
        raise fail("expected one value", document.place(()))
    if depth(parsed) > DEEPEST:
        raise fail(f"nested deeper than {DEEPEST} levels", document.place(()))
    return parsed["v"]
