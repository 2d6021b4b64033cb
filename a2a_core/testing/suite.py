"""All checks of a component or of a distribution; for pytest, for the command line, for an author's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from a2a_core.components import KINDS
from a2a_core.errors import A2AError, suggest
from a2a_core.installed import canonical
from a2a_core.options import Component
from a2a_core.plugins import Catalog, Plugin
from a2a_core.testing import adapters, collators, encoders, fusions, heads, losses, metrics, processors, projectors, sources
from a2a_core.testing.check import Check, CheckResult, fail
from a2a_core.testing.every import EVERY, asked_for
from a2a_core.testing.subject import Subject

BY_KIND: dict[str, tuple[type[Subject[Any]], tuple[Callable[[Any], None], ...]]] = {
    "encoder": (encoders.EncoderSubject, (*processors.CHECKS, *encoders.CHECKS)),
    "projector": (projectors.ProjectorSubject, projectors.CHECKS),
    "fusion": (fusions.FusionSubject, fusions.CHECKS),
    "head": (heads.HeadSubject, heads.CHECKS),
    "loss": (losses.LossSubject, losses.CHECKS),
    "metric": (metrics.MetricSubject, metrics.CHECKS),
    "collator": (collators.CollatorSubject, collators.CHECKS),
    "source": (sources.SourceSubject, sources.CHECKS),
    "adapter": (adapters.AdapterSubject, adapters.CHECKS),
}
"""Kind -> how it is tested, and its own invariants; the other kinds have those of every component only."""


def checks(component: Component | type[Component], label: str = "", modules: tuple[str, ...] = ()) -> list[Check]:
    """Every check of one component: a class (tested as its `tiny`), or an instance with options of your choice.

    @pytest.mark.parametrize("check", checks(PatchEncoder(width=32)), ids=str)
    def test_wide(check):
        check()
    """
    cls = component if isinstance(component, type) else type(component)
    kind, own = BY_KIND.get(cls.kind, (Subject, ()))
    subject = kind(component, label, modules)
    return [Check(subject, invariant) for invariant in (*EVERY, *own)]


class Loading:
    """A plugin, or a component of it, as far as it can be loaded."""

    def __init__(self, label: str, problem: str, module: str = "") -> None:
        self.label, self.problem, self.module = label, problem, module


def loads(subject: Loading) -> None:
    """It can be imported, and is what its plugin says; importing the plugin's module imports no large package."""
    if subject.problem:
        fail(subject.problem, remedy="`a2a plugins doctor` shows where")
    heavy = asked_for((subject.module,))[subject.module] if subject.module else ""
    if heavy:
        fail(
            f"importing `{subject.module}` imports a large package",
            heavy,
            remedy="a plugin's module only says where its classes lie",
        )


def of_plugin(plugin: Plugin, catalog: Catalog) -> Iterator[Check]:
    """Everything that a plugin offers."""
    yield Check(Loading(f"plugin:{plugin.name}", "; ".join(plugin.errors), plugin.module), loads)
    components = [(kind, name) for kind, names in plugin.offers.items() if kind in KINDS for name in names]
    modules = tuple(sorted({plugin.offers[kind][name].partition(":")[0] for kind, name in components}))
    for kind, name in components:
        try:
            cls = catalog.find(kind, f"{plugin.dist}:{name}")
        except A2AError as error:
            yield Check(Loading(f"{kind}:{name}", str(error)), loads)
        else:
            yield from checks(cls, f"{kind}:{name}", tuple(sorted({*modules, cls.__module__})))


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
