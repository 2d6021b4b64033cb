"""Invariants of every component, whatever its kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import tomli

from a2a_core.components import KINDS
from a2a_core.options import Component, doc
from a2a_core.plugins import Catalog, Plugin
from a2a_core.recipe.structure import Structurer
from a2a_core.recipe.tree import Document, tree
from a2a_core.recipe.writing import plain, toml
from a2a_core.testing.check import CheckFailed, NotApplicable, attempt, expect, fail
from a2a_core.testing.subject import Subject

LONGEST_LINE = 160
IT = "component-under-test"


def can_be_tested(subject: Subject[Any]) -> None:
    """The class offers what the kit needs, `tiny(folder)` and examples where its kind has them; these build and run."""
    if subject.flaw is not None:
        raise CheckFailed(str(subject.flaw)) from subject.flaw
    config = subject.config
    expect(
        isinstance(config, subject.cls),
        f"tiny(folder) gives {type(config).__name__}",
        remedy=f"return a {subject.cls.__name__}",
    )


def imports_nothing_heavy(subject: Subject[Any]) -> None:
    """Importing the class imports neither torch nor any other large package: listing and checking recipes must take no time."""
    found = asked_for(subject.modules)[subject.cls.__module__]
    if found is None:
        raise NotApplicable(f"`{subject.cls.__module__}` is not found by its name in a fresh process")
    expect(
        not found,
        f"importing `{subject.cls.__module__}` imports a large package",
        found,
        "an import at the top of the module, of its package's __init__ or of a module that it imports",
        "import it inside build() or the method that needs it, and for types under `if TYPE_CHECKING`",
    )


def is_documented(subject: Subject[Any]) -> None:
    """The class has a docstring of its own, and every option a line: they are its reference page."""
    own = (subject.cls.__dict__.get("__doc__") or "").strip()
    expect(
        len(own) > 20,
        f"`{subject.cls.__name__}` has no docstring of its own",
        repr(own),
        remedy="say what it is, which paper, which shapes",
    )
    for field in attrs.fields(subject.cls):
        text = doc(field).text
        good = bool(text.strip()) and "\n" not in text and len(text) <= LONGEST_LINE
        expect(good, f"option `{field.name}` must be explained in one line of at most {LONGEST_LINE} letters", repr(text))


def survives_toml(subject: Subject[Any]) -> None:
    """Written to TOML and read back as strictly as a recipe, it is equal: a filled recipe runs the same."""
    try:
        config = subject.config
    except CheckFailed as failure:
        raise NotApplicable(f"see can_be_tested: {str(failure).splitlines()[0]}") from failure
    with attempt("writing it to TOML"):
        text = f"it = {toml(plain(config) | {'use': f'{IT}:{subject.cls.name}'})}\n"
        text += "".join(f"[{table}.{toml(name)}]\n" for table, name in sorted(references(config)))
    with attempt(f"reading back `{text.splitlines()[0]}`", "an option of a type that no recipe can say"):
        root = tree(tomli.loads(text), Document("recipe.toml"))
        got = Structurer(catalog(subject.cls), root).table(root["it"], KINDS[subject.cls.kind])
    if got == config:
        return
    differ = [
        f"`{field.name}`: {getattr(config, field.name)!r}, then {getattr(got, field.name)!r}"
        for field in attrs.fields(subject.cls)
        if getattr(config, field.name) != getattr(got, field.name)
    ]
    fail(
        "it is not equal after TOML",
        "; ".join(differ),
        "a list given where a tuple is declared, a str where a Path is",
        "give what is declared",
    )


EVERY = (can_be_tested, imports_nothing_heavy, is_documented, survives_toml)


def asked_for(modules: tuple[str, ...]) -> dict[str, str | None]:
    """What each module asks for, see `import_probe`; one process for all of them."""
    return probed(modules, os.pathsep.join(path for path in sys.path if path))


@cache
def probed(modules: tuple[str, ...], path: str) -> dict[str, str | None]:
    """The same, for a search path."""
    script = Path(__file__).with_name("import_probe.py")
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-P", str(script), *modules]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        fail("importing the plugin's modules in a fresh process fails", done.stderr.strip()[-500:])
    found: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    return found


def references(config: Component) -> set[tuple[str, str]]:
    """Tables and names that a component's options refer to."""
    found = set()
    for field in attrs.fields(type(config)):
        value = getattr(config, field.name)
        for name in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(name, Component):
                found |= references(name)
            elif doc(field).refers_to and name:
                found.add((doc(field).refers_to, str(name)))
        if isinstance(value, Component):
            found |= references(value)
    return found


def catalog(cls: type[Component]) -> Catalog:
    """What is installed, and the class itself, offered or not."""
    offers = {cls.kind: {cls.name: f"{cls.__module__}:{cls.__qualname__}"}}
    installed = Catalog.installed()
    mine = Plugin(IT, cls.__module__, IT, "0", offers)
    return Catalog((*installed.plugins, mine), found={(cls.kind, IT, cls.name): cls})
