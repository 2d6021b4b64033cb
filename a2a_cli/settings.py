"""A run's settings, read from the recipe in its folder: what is not default, what differs between runs, which way is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import tomli

from a2a_core.components import MetricConfig
from a2a_core.errors import A2AError
from a2a_core.options import Component, Options
from a2a_core.plugins import Catalog
from a2a_core.recipe import load_recipe, plain
from a2a_core.runs import Run


def written(run: Run) -> dict[str, Any]:
    """Every value of a run's recipe, `trainer.epochs`; A2AError when the recipe is not there."""
    try:
        return dict(flat(tomli.loads(run.recipe.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise A2AError(f"run `{run.name}` has no recipe.toml") from None
    except ValueError as error:
        raise A2AError(f"{run.recipe} cannot be read: {error}") from None


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Tables and lists of tables by dotted names; lists of scalars as they are."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from flat(each, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        for place, each in enumerate(value):
            yield from flat(each, f"{name}[{place}]")
    else:
        yield name, value


def changed(run: Run) -> dict[str, Any]:
    """The settings that differ from the defaults; all of them when a plugin that would know is missing."""
    try:
        loaded = load_recipe(run.recipe, None, environ={})
    except A2AError:
        return written(run)
    return {name: plain(value) for name, value in departures(loaded.recipe, "", loaded.catalog)}


def departures(options: Options, prefix: str, catalog: Catalog) -> Iterator[tuple[str, Any]]:
    """Fields that are not as they are by themselves; a component's `use` always."""
    if isinstance(options, Component):
        yield f"{prefix}use", catalog.qualified(type(options))
    for field in attrs.fields(type(options)):
        value, name = getattr(options, field.name), f"{prefix}{field.name}"
        if isinstance(value, Options):
            yield from departures(value, f"{name}.", catalog)
        elif isinstance(value, Mapping) and any(isinstance(each, Options) for each in value.values()):
            for key, each in value.items():
                yield from departures(each, f"{name}.{key}.", catalog)
        elif isinstance(value, tuple) and any(isinstance(each, Options) for each in value):
            for place, each in enumerate(value):
                yield from departures(each, f"{name}[{place}].", catalog)
        elif value != default(field):
            yield name, value


def default(field: attrs.Attribute[Any]) -> Any:
    """A field's default; `attrs.NOTHING`, which equals no value, where it has none."""
    made: Any = field.default
    return made.factory() if isinstance(made, attrs.Factory) else made  # type: ignore[arg-type]


def priorities(run: Run) -> list[str]:
    """Names of results, what the run's recipe cares for most first: `trainer.best`, then the metrics of each head in turn."""
    try:
        settings = written(run)
    except A2AError:
        return []
    keys = {tuple(name.split(".")): value for name, value in settings.items()}
    heads = [key[1] for key in keys if key[0] == "heads" and key[2:] == ("use",)]
    judged = {key[1]: head for key, head in keys.items() if key[0] == "metrics" and key[2:] == ("head",)}
    best = settings.get("trainer.best")
    return [*([best] if best else []), *(metric for head in heads for metric, its in judged.items() if its == head)]


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Settings that are not the same in all runs, a value a run."""
    each = [written(run) for run in runs]
    names = dict.fromkeys(name for settings in each for name in settings)
    table = {name: [settings.get(name) for settings in each] for name in names}
    return {name: values for name, values in table.items() if any(value != values[0] for value in values)}


def best(runs: Sequence[Run], results: Mapping[str, Sequence[float | None]]) -> dict[str, list[int]]:
    """Result -> places of the best runs, where it is known which way is better and they are not all the same."""
    catalog = Catalog.installed()
    found = {}
    for name, values in results.items():
        higher = higher_is_better(name, runs, catalog)
        known = [value for value in values if value is not None and value == value]
        if higher is not None and len(set(known)) > 1:
            winner = max(known) if higher else min(known)
            found[name] = [place for place, value in enumerate(values) if value == winner]
    return found


def higher_is_better(result: str, runs: Sequence[Run], catalog: Catalog) -> bool | None:
    """Whether more of `validation/accuracy` is better; None where neither a loss nor an installed metric says so."""
    _, _, name = result.partition("/")
    metric = name.partition("/")[0]
    if metric == "loss":
        return False
    use = next((use for run in runs if (use := written(run).get(f"metrics.{metric}.use"))), None)
    if not isinstance(use, str):
        return None
    try:
        found = catalog.find("metric", use)
    except A2AError:
        return None
    return found.higher_is_better if issubclass(found, MetricConfig) else None
