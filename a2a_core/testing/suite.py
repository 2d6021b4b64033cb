"""All checks of a component or of a distribution; for pytest, for the command line, for an author's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pkgutil import resolve_name
from typing import Any

import tomli

from a2a_core.components import KINDS
from a2a_core.errors import A2AError, suggest
from a2a_core.installed import canonical
from a2a_core.options import Component
from a2a_core.plugins import Catalog, Plugin
from a2a_core.testing import (
    adapters,
    checkpoints,
    collators,
    encoders,
    fusions,
    heads,
    losses,
    metrics,
    processors,
    projectors,
    resolving,
    sources,
    streams,
)
from a2a_core.testing.check import Check, CheckResult, attempt, expect
from a2a_core.testing.every import EVERY, asked_for
from a2a_core.testing.subject import Subject

BY_KIND: dict[str, tuple[type[Subject[Any]], tuple[Callable[[Any], None], ...]]] = {
    "encoder": (encoders.EncoderSubject, (*processors.CHECKS, *encoders.CHECKS, *resolving.CHECKS, *checkpoints.CHECKS)),
    "projector": (projectors.ProjectorSubject, (*projectors.CHECKS, *checkpoints.CHECKS)),
    "fusion": (fusions.FusionSubject, (*fusions.CHECKS, *resolving.CHECKS, *checkpoints.CHECKS)),
    "head": (heads.HeadSubject, (*heads.CHECKS, *checkpoints.CHECKS)),
    "loss": (losses.LossSubject, (*losses.CHECKS, *checkpoints.CHECKS)),
    "metric": (metrics.MetricSubject, metrics.CHECKS),
    "collator": (collators.CollatorSubject, collators.CHECKS),
    "source": (sources.SourceSubject, sources.CHECKS),
    "adapter": (adapters.AdapterSubject, adapters.CHECKS),
}
"""Kind -> how it is tested, and its own invariants; the other kinds have those of every component only."""
STREAMS: tuple[type[Subject[Any]], tuple[Callable[[Any], None], ...]] = (streams.StreamSubject, streams.CHECKS)
"""In place of those of sources, where rows have no length."""


def checks(component: Component | type[Component], label: str = "", modules: tuple[str, ...] = ()) -> list[Check]:
    """Every check of one component: a class (tested as its `tiny`), or an instance with options of your choice.

    @pytest.mark.parametrize("check", checks(PatchEncoder(width=32)), ids=str)
    def test_wide(check):
        check()
    """
    cls = component if isinstance(component, type) else type(component)
    kind, own = STREAMS if getattr(cls, "streams", False) else BY_KIND.get(cls.kind, (Subject, ()))
    subject = kind(component, label, modules)
    return [*(Check(subject, invariant) for invariant in EVERY), *(Check(subject, invariant, True) for invariant in own)]


class Loading:
    """Something that a plugin offers, as far as it is to be loaded; the plugin itself has a module."""

    flaw = None

    def __init__(self, label: str, load: Callable[[], object], module: str = "") -> None:
        self.label, self.load, self.module = label, load, module


def loads(subject: Loading) -> None:
    """It can be loaded, and is what its plugin says; importing the plugin's module imports no large package."""
    with attempt("loading it", remedy="`a2a plugins doctor` shows where"):
        subject.load()
    heavy = asked_for((subject.module,))[subject.module] if subject.module else ""
    remedy = "a plugin's module only says where its classes lie"
    expect(not heavy, f"importing `{subject.module}` imports a large package", heavy or "", remedy=remedy)


def of_plugin(plugin: Plugin, catalog: Catalog) -> Iterator[Check]:
    """Everything that a plugin offers."""
    yield Check(Loading(f"plugin:{plugin.name}", partial(refuse, plugin.errors), plugin.module), loads)
    for name in plugin.offers.get("preset", ()):
        yield Check(Loading(f"preset:{name}", partial(read_preset, catalog, f"{plugin.dist}:{name}")), loads)
    for name, place in plugin.offers.get("command", {}).items():
        yield Check(Loading(f"command:{name}", partial(resolve_name, place)), loads)
    components = [(kind, name) for kind, names in plugin.offers.items() if kind in KINDS for name in names]
    modules = tuple(sorted({plugin.offers[kind][name].partition(":")[0] for kind, name in components}))
    for kind, name in components:
        load = partial(catalog.find, kind, f"{plugin.dist}:{name}")
        try:
            cls = load()
        except A2AError:
            yield Check(Loading(f"{kind}:{name}", load), loads)
        else:
            yield from checks(cls, f"{kind}:{name}", tuple(sorted({*modules, cls.__module__})))


def refuse(errors: Sequence[str]) -> None:
    """A2AError if there are any."""
    if errors:
        raise A2AError("; ".join(errors))


def read_preset(catalog: Catalog, name: str) -> dict[str, Any]:
    """A preset's file, parsed."""
    return tomli.loads(catalog.preset(name).read_text("utf-8"))


def of_distribution(name: str, catalog: Catalog) -> list[Check]:
    """Every check of what a distribution, or one entry point, offers; A2AError where it is not installed."""
    plugins = [plugin for plugin in catalog.plugins if canonical(name) in (canonical(plugin.dist), canonical(plugin.name))]
    if not plugins:
        known = {plugin.dist for plugin in catalog.plugins}
        raise A2AError(f"no plugin `{name}` is installed here", hint=f"pip install -e . first? {suggest(name, known)}")
    return [check for plugin in plugins for check in of_plugin(plugin, catalog)]


def run_suite(name: str, catalog: Catalog) -> list[CheckResult]:
    """Check everything that a distribution, or one entry point, offers; needs no pytest."""
    return [check.result() for check in of_distribution(name, catalog)]


def suite(name: str) -> Callable[..., None]:
    """A test for pytest, one case for each check of each component that a distribution offers.

    from a2a_core.testing import suite

    test_plugin = suite("a2a-vision")
    """
    import pytest

    cases = [pytest.param(check, id=f"{check.subject.label}-{check}") for check in of_distribution(name, Catalog.installed())]

    @pytest.mark.parametrize("check", cases)
    def test_plugin(check: Check) -> None:
        check()

    return test_plugin
