"""`a2a plugins doctor`: import all that a plugin offers, in an interpreter of its own, and note what is wrong.

A fresh interpreter measures what the plugin itself imports, and outlives nothing that the plugin does to it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import click

from a2a_cli.commands import found_at, load
from a2a_core.components import KINDS
from a2a_core.errors import A2AError
from a2a_core.plugins import SLOW, Catalog, Plugin, guarded

SLOW_SECONDS = 0.1
"""An import above this is felt: every command imports every plugin, and `a2a check` the classes that its recipe names."""
PATIENCE = 120.0
"""Seconds after which an import counts as hung."""


class Broken(TypedDict):
    """What is wrong, and the traceback if there is one."""

    message: str
    trace: str


class Report(TypedDict):
    """A plugin's state of health."""

    plugin: str
    distribution: str
    version: str
    location: str
    broken: list[Broken]
    slow: list[str]


def examined(plugin: Plugin) -> Report:
    """Examine one plugin in an interpreter of its own."""
    command = [sys.executable, "-m", "a2a_cli.doctor", plugin.name, plugin.dist]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, check=False)
        found = json.loads(done.stdout.splitlines()[-1])
        broken, slow = found["broken"], found["slow"]
    except subprocess.TimeoutExpired:
        broken, slow = [Broken(message=f"importing it takes more than {PATIENCE:g} s", trace="")], []
    except (ValueError, IndexError):
        message = f"importing it ends the interpreter (exit code {done.returncode})"
        broken, slow = [Broken(message=message, trace=done.stderr[-4000:])], []
    return Report(
        plugin=plugin.name,
        distribution=plugin.dist,
        version=plugin.version,
        location=plugin.location,
        broken=broken,
        slow=slow,
    )


def verdict(report: Report) -> str:
    """A report for people."""
    who = f"{click.style(report['distribution'], bold=True)} {report['version']}"
    if not report["broken"]:
        lines = [f"{who}  {click.style('well', fg='green')}"]
    else:
        lines = [f"{who}  {click.style('broken', fg='red')}  ({report['location']})"]
    for broken in report["broken"]:
        lines.append(f"  {broken['message']}")
        lines += [f"    {line}" for line in broken["trace"].splitlines()]
    lines += [f"  {click.style('slow:', fg='yellow')} {text}" for text in report["slow"]]
    return "\n".join(lines)


def examine(name: str, dist: str) -> tuple[list[Broken], list[str]]:
    """What is broken and what is slow about a plugin; for a fresh interpreter."""
    every = Catalog.installed(allow=frozenset({name, dist})).plugins
    found = next((plugin for plugin in every if (plugin.name, plugin.dist) == (name, dist)), None)
    if found is None:
        return [Broken(message="it has gone since it was listed", trace="")], []
    broken = [Broken(message=error, trace="" if place else found.trace) for place, error in enumerate(found.errors)]
    slow = list(tardy(f"the module `{found.module}`", found.seconds, found.slow))
    catalog = Catalog((found,))
    for kind, names in found.offers.items():
        for each in names:
            before, start = set(sys.modules), time.perf_counter()
            broken += fault(catalog, found, kind, each)
            heavy = [module for module in SLOW if module in sys.modules and module not in before]
            slow += tardy(f"{kind} `{each}`", time.perf_counter() - start, heavy)
    return broken, slow


def fault(catalog: Catalog, plugin: Plugin, kind: str, name: str) -> Iterator[Broken]:
    """Why something that is offered cannot be used."""
    place, trace = plugin.offers[kind][name], ""
    try:
        if kind == "preset":
            readable(catalog.preset(f"{plugin.dist}:{name}"), f"preset `{name}` of {plugin.dist} {plugin.version}")
            return
        _, failure = guarded(lambda: found_at(place))
        trace = failure.text if failure else ""
        if kind in KINDS:
            catalog.find(kind, f"{plugin.dist}:{name}")
        else:
            load(plugin, name)
    except A2AError as error:
        yield Broken(message=error.problems[0].message, trace=trace)


def readable(path: Path, who: str) -> None:
    """A2AError for a file that is no TOML."""
    import tomli

    try:
        tomli.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise A2AError(f"{who} cannot be read ({path}): {error}") from None


def tardy(what: str, seconds: float, heavy: Sequence[str]) -> Iterator[str]:
    """A line for an import that costs every command dear."""
    if heavy:
        yield f"importing {what} brings in {', '.join(heavy)} ({seconds:.2f} s): import it inside `build` or the processor"
    elif seconds > SLOW_SECONDS:
        yield f"importing {what} takes {seconds:.2f} s"


if __name__ == "__main__":
    broken, slow = examine(sys.argv[1], sys.argv[2])
    click.echo(json.dumps({"broken": broken, "slow": slow}))
