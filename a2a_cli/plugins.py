"""`a2a plugins`: what is installed, is it well, and a new one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from a2a_cli.arguments import ComponentName, PluginName, json_option
from a2a_cli.output import plural, print_json, print_markdown, table
from a2a_core.errors import A2AError, suggest
from a2a_core.hookspecs import HOOKS
from a2a_core.installed import canonical
from a2a_core.known import KNOWN
from a2a_core.plugins import Catalog, Plugin

if TYPE_CHECKING:
    from a2a_core.testing import CheckResult

PLURALS = {kind: hook.removeprefix("a2a_") for hook, kind in HOOKS.items()}


@click.group()
def plugins() -> None:
    """What is installed, is it well; a new one."""


@plugins.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List plugins: version, where each comes from, what it offers, and what is wrong with it."""
    catalog = Catalog.installed()
    if as_json:
        print_json([described(plugin) for plugin in catalog.plugins])
        return
    if not catalog.plugins:
        click.echo("no plugins are installed")
    for plugin in sorted(catalog.plugins, key=lambda each: (each.dist, each.name)):
        click.echo(summary(plugin))
    for line in clashes(catalog):
        click.secho(line, fg="yellow")


def described(plugin: Plugin) -> dict[str, Any]:
    """One plugin for machines."""
    return {
        "plugin": plugin.name,
        "distribution": plugin.dist,
        "version": plugin.version,
        "location": plugin.location,
        "offers": {PLURALS[kind]: sorted(names) for kind, names in plugin.offers.items()},
        "errors": list(plugin.errors),
    }


def summary(plugin: Plugin) -> str:
    """One plugin for people."""
    lines = [f"{click.style(plugin.dist, bold=True)} {plugin.version}  {click.style(plugin.location, dim=True)}"]
    if plugin.offers:
        rows = [(PLURALS[kind], ", ".join(sorted(plugin.offers[kind]))) for kind in PLURALS if plugin.offers.get(kind)]
        lines.append(table(rows, indent="  "))
    lines += [f"  {click.style('broken:', fg='red')} {error}" for error in plugin.errors]
    if plugin.errors:
        lines.append(f"  see `a2a plugins doctor {plugin.name}`")
    return "\n".join(lines)


def clashes(catalog: Catalog) -> Iterator[str]:
    """Names that more than one distribution offers."""
    for kind in PLURALS:
        if kind == "preset":
            continue
        by_name: dict[str, list[str]] = {}
        for plugin, name in catalog.offers(kind):
            by_name.setdefault(name, []).append(plugin.dist)
        for name, dists in by_name.items():
            if len(dists) > 1:
                yield f"{kind} `{name}` is offered by {' and '.join(dists)}: write `{dists[0]}:{name}` or `{dists[1]}:{name}`"


@plugins.command("show")
@click.argument("name", type=ComponentName())
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the reference of a component, or all that a plugin offers.

    NAME is a component (`patch`, `a2a-vision:patch`), a plugin or a distribution.
    """
    catalog = Catalog.installed()
    found = list(matches(catalog, name))
    whole = [plugin for plugin in catalog.plugins if name == plugin.name or canonical(name) == canonical(plugin.dist)]
    if not found and not whole:
        known = {each for plugin in catalog.plugins for each in (plugin.name, plugin.dist, *components(plugin))}
        raise A2AError(f"nothing is called `{name}`", hint=suggest(name, known))
    if as_json:
        print_json([entry(catalog, *match) for match in found])
        return
    for plugin in whole:
        click.echo(f"{summary(plugin)}\n")
    print_markdown("\n\n".join(reference(catalog, *match) for match in found))


def components(plugin: Plugin) -> Iterator[str]:
    """Names of all that a plugin offers."""
    for names in plugin.offers.values():
        yield from names


def matches(catalog: Catalog, name: str) -> Iterator[tuple[Plugin, str, str]]:
    """Plugin, kind and name of each component that is meant."""
    dist, _, bare = name.rpartition(":")
    for plugin in catalog.plugins:
        whole = not dist and (name == plugin.name or canonical(name) == canonical(plugin.dist))
        for kind, names in plugin.offers.items():
            for each in names:
                if whole or (each == bare and canonical(dist) in ("", canonical(plugin.dist))):
                    yield plugin, kind, each


def entry(catalog: Catalog, plugin: Plugin, kind: str, name: str) -> dict[str, Any]:
    """One component for machines."""
    return {
        "kind": kind,
        "name": name,
        "use": f"{plugin.dist}:{name}",
        "version": plugin.version,
        "lies": plugin.offers[kind][name],
        "reference": reference(catalog, plugin, kind, name),
    }


def reference(catalog: Catalog, plugin: Plugin, kind: str, name: str) -> str:
    """A component's page; a line for what has none."""
    from a2a_core.components import KINDS
    from a2a_core.recipe import page

    if kind == "preset":
        return f"### preset `{plugin.dist}:{name}`\n\n{catalog.preset(f'{plugin.dist}:{name}')}"
    if kind not in KINDS:
        return f"### {kind} `{name}`\n\nsee `a2a {name} --help`"
    try:
        return page(catalog.find(kind, f"{plugin.dist}:{name}"))
    except A2AError as error:
        return f"### {kind} `{name}`\n\n{error}"


@plugins.command("doctor")
@click.argument("name", type=PluginName(), required=False)
@json_option
def doctor(name: str | None, as_json: bool) -> None:
    """Import all that plugins offer, each plugin in a process of its own, and say what is wrong.

    Shows tracebacks, slow imports, and large packages that come in before they are needed. The exit code is 1 when
    something is broken.
    """
    from a2a_cli.doctor import examined, verdict

    catalog = Catalog.installed()
    chosen = [plugin for plugin in catalog.plugins if name is None or plugin in named(catalog, name)]
    reports = [examined(plugin) for plugin in chosen]
    broken = [report for report in reports if report["broken"]]
    if as_json:
        print_json(reports)
    else:
        click.echo("\n".join(verdict(report) for report in reports))
        click.echo(f"\n{plural(len(broken), 'plugin')} of {len(reports)} broken" if broken else "\nall is well")
    sys.exit(1 if broken else 0)


def named(catalog: Catalog, name: str) -> list[Plugin]:
    """The plugins of this name, or of this distribution; A2AError when there is none."""
    found = [plugin for plugin in catalog.plugins if name == plugin.name or canonical(name) == canonical(plugin.dist)]
    if not found:
        known = {each for plugin in catalog.plugins for each in (plugin.name, plugin.dist)}
        raise A2AError(f"no plugin is called `{name}`", hint=suggest(name, known))
    return found


@plugins.command("test")
@click.argument("name", type=PluginName())
@json_option
def test(name: str, as_json: bool) -> None:
    """Run the testing kit over everything that a plugin offers; the exit code is 1 when a check fails."""
    from a2a_core.testing.suite import of_distribution

    checks = of_distribution(name, Catalog.installed())
    width = max((len(check.subject.label) for check in checks), default=0)
    results = []
    for check in checks:
        results.append(check.result())
        if not as_json:
            click.echo(f"{word(results[-1])} {results[-1].component:{width}}  {results[-1].check}")
    failed = [result for result in results if not result.passed and not result.skipped]
    if as_json:
        print_json([result._asdict() for result in results])
        sys.exit(1 if failed else 0)
    for result in failed:
        click.echo(f"\n{click.style(f'{result.component} {result.check}', fg='red')}\n{result.message}")
    click.echo(f"\n{plural(len(results), 'check')}, {len(failed)} failed")
    sys.exit(1 if failed else 0)


def word(result: CheckResult) -> str:
    """How a check ended, in eight columns."""
    if result.skipped:
        return click.style("skipped ", dim=True)
    return click.style("passed  ", fg="green") if result.passed else click.style("failed  ", fg="red")


@plugins.command("new")
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Folder that gets the package.  [default: here]")
@click.option("--modality", default="vector", show_default=True, help="What its encoder encodes.")
def new(name: str, into: Path, modality: str) -> None:
    """Write a plugin of your own: a complete package with an encoder, and tests that pass.

    NAME is the encoder's name; the package is called a2a-NAME.
    """
    from a2a_cli.scaffold import named as forms
    from a2a_cli.scaffold import scaffold

    words = forms(name)
    refuse_taken(words["dist"], words["name"])
    root, *files = scaffold(name, into, modality)
    click.echo("\n".join([f"{click.style(str(root), bold=True)}", *(f"  {path.relative_to(root)}" for path in files)]))
    steps = [f"cd {root}", 'python -m pip install -e ".[test]"', "pytest", f"a2a plugins test {words['dist']}"]
    click.echo("\nnext:\n" + "\n".join(f"  {step}" for step in steps))
    click.echo(f"then make it yours, beginning with src/{words['package']}/window.py")


def refuse_taken(dist: str, encoder: str) -> None:
    """A2AError for a distribution or an encoder that exists: nobody could tell the new one from it."""
    installed = Catalog.installed()
    offers = {name: plugin.dist for plugin, name in installed.offers("encoder")}
    if dist in {*map(canonical, installed.versions()), *(each for names in KNOWN.values() for each in names.values())}:
        raise A2AError(f"there is a plugin {dist} already", hint="choose another name")
    if owner := (KNOWN.get("encoder", {}) | offers).get(encoder):
        raise A2AError(f"there is an encoder `{encoder}` already, in {owner}", hint="choose another name")
