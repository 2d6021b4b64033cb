"""Commands that plugins offer, found without importing them."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

import click

from a2a_core.errors import A2AError
from a2a_core.plugins import Catalog, Plugin, guarded


def offered(catalog: Catalog, taken: Collection[str]) -> dict[str, Plugin]:
    """Commands by what the user types: `<distribution>:<name>` where a name is taken, or more than one plugin's."""
    every = sorted(((name, plugin) for plugin, name in catalog.offers("command")), key=lambda entry: (entry[0], entry[1].dist))
    names = [*taken, *(name for name, _ in every)]
    return {name if names.count(name) == 1 else f"{plugin.dist}:{name}": plugin for name, plugin in every}


def load(plugin: Plugin, name: str) -> click.Command:
    """Import one plugin's command; A2AError when it is broken, whatever it raises."""
    place = plugin.offers["command"][name]
    who = f"command `{name}` of {plugin.dist} {plugin.version} (`{place}`)"
    command, failure = guarded(lambda: found_at(place))
    if failure:
        raise A2AError(f"{who} fails to load: {failure.error}", hint=f"see `a2a plugins doctor {plugin.name}`")
    if not isinstance(command, click.Command):
        raise A2AError(f"{who} is no click command", hint=f"tell the authors of {plugin.dist}")
    return command


def found_at(place: str) -> object:
    """What lies at `package.module:Name`, imported now."""
    module, _, attribute = place.partition(":")
    found: object = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
