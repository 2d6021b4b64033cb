"""Where a component's work is written: the code of its classes and of the plugins that it builds on, and their versions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from xxhash import xxh3_128

from a2a_core.features import Unusable
from a2a_core.installed import canonical, points
from a2a_core.plugins import owners

ALWAYS = ("torch", "transformers", "numpy")
"""Their versions always count; their code does not, beside those."""
FOREIGN = {*sys.stdlib_module_names, *ALWAYS, "attr", "attrs"}
CORE = "a2a_core"
CODE = (".py", ".so")


def bases(classes: Iterable[type]) -> list[type]:
    """Classes and all that they inherit from: an encoder may take its `forward` from another plugin's."""
    return list(dict.fromkeys(base for cls in classes for base in cls.__mro__))


def dists_of(classes: Iterable[type]) -> list[str]:
    """The distributions of plugins that classes come from, and those of other plugins that these require, and so on."""
    plugins = {canonical(point.dist) for point in points()}
    found = list(dict.fromkeys(owners[cls].dist for cls in classes if cls in owners))
    for dist in found:  # grows
        known = {canonical(each) for each in found}
        found += [name for name in map(name_of, required(dist)) if canonical(name) in plugins - known]
    return found


def code_of(classes: Iterable[type], dists: Iterable[str]) -> dict[str, str]:
    """Package -> digest, of the classes', of those distributions' plugins, and the core's, which batches and cuts.

    Whoever edits a plugin raises no version. Unusable for code that lies in no file.
    """
    theirs = {canonical(dist) for dist in dists}
    modules = [cls.__module__ for cls in classes] + [point.module for point in points() if canonical(point.dist) in theirs]
    places = {place(module) for module in (CORE, *modules) if module.partition(".")[0] not in FOREIGN}
    return {name: code(home, whole) for name, home, whole in sorted(places)}


def place(module: str) -> tuple[str, Path, bool]:
    """The package that a module is of, where its code lies, and whether that is a folder.

    A package is its outermost one that has an `__init__.py`. A module of a namespace package stands for its folder: it may
    import what lies beside it. A module of no package stands for itself.
    """
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        file = file_of(name)
        if file is not None:
            path = Path(file)
            whole = count > 1 or path.name.partition(".")[0] == "__init__"
            return name, path.parent if whole else path, whole
    raise Unusable(f"the code of `{module}` lies in no file, so that it cannot be told whether it changed")


def file_of(name: str) -> str | None:
    """Where a module was imported from, or would be; None for a namespace package and what is typed at a prompt."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None)
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None and spec.has_location else None


@lru_cache(maxsize=256)
def code(home: Path, whole: bool) -> str:
    """A digest of a file of code, or of those in a folder; Unusable where there are none."""
    files = sorted(each for each in home.rglob("*") if each.suffix in CODE) if whole else [home]
    hasher = xxh3_128()
    try:
        for each in files:
            hasher.update(f"{each.relative_to(home)}\0".encode() + each.read_bytes() + b"\0")
    except OSError as error:
        raise Unusable(f"its code in {home} cannot be read: {error.strerror}") from error
    if not files:
        raise Unusable(f"its code in {home} cannot be read")
    return hasher.hexdigest()


def versions(dists: Iterable[str]) -> dict[str, str]:
    """Those of the plugins, and of what they say they need: pictures are decoded by a package of its own."""
    dists = list(dists)
    found: dict[str, str] = {}
    for name in (*ALWAYS, *dists, *map(name_of, chain.from_iterable(map(required, dists)))):
        try:
            found[name] = version(name)
        except (PackageNotFoundError, ValueError):
            continue
    return found


def required(dist: str) -> list[str]:
    """What a distribution needs, extras left out."""
    try:
        return [each for each in requires(dist) or () if "extra ==" not in each]
    except PackageNotFoundError:
        return []


def name_of(requirement: str) -> str:
    """The distribution that a requirement is for; empty for what is none."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).name
    except InvalidRequirement:
        return ""
