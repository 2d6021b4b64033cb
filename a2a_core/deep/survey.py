"""The data and the parts, as far as they can be had: every mistake is kept, and all else goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from a2a_core.data import absent, target_processors
from a2a_core.errors import Problem
from a2a_core.evaluate import build_metrics
from a2a_core.job import LOOKED_AT, opened, refuse_labels, resolve
from a2a_core.mistakes import Problems
from a2a_core.recipe import Parts, Recipe
from a2a_core.streams import Stream, looked_at
from a2a_core.structures import TextTarget

if TYPE_CHECKING:
    from a2a_core.components import Rows


def open_rows(recipe: Recipe, problems: Problems) -> dict[str, Rows | Stream]:
    """The splits that can be opened."""
    found = {}
    for split, source in recipe.data.items():
        with problems.kept(f"data.{split}"):
            found[split] = opened(split, source)
    return found


def looked_at_all(rows: Mapping[str, Rows | Stream], problems: Problems) -> dict[str, Rows]:
    """Of streams the first rows; without those that have none."""
    found = {}
    for split, each in rows.items():
        with problems.kept(f"data.{split}"):
            found[split] = looked_at(each)
    return found


def resolved_parts(recipe: Recipe, rows: Rows | Stream, problems: Problems) -> tuple[Recipe, Parts | None]:
    """The parts that can be resolved, and the recipe without the others."""
    try:
        return recipe, resolve(recipe, rows)
    except Exception:  # whatever a part raised: who it was is found out part by part
        sound = without_unsound(recipe, rows, problems)
    with problems.kept():
        return sound, resolve(sound, rows)
    return sound, None


def without_unsound(recipe: Recipe, rows: Rows | Stream, problems: Problems) -> Recipe:
    """The recipe without encoders and heads that cannot be resolved, and without what refers to those heads."""

    def sound(table: str, entries: Mapping[str, Any], alone: Callable[[str], Any]) -> dict[str, Any]:
        good = {}
        for key, part in entries.items():
            before = len(problems)
            with problems.kept(f"{table}.{key}"):
                resolve(alone(key), rows)
            if len(problems) == before:
                good[key] = part
        return good

    bare = changed(recipe, encoders={}, projectors={}, heads={}, losses={}, metrics={}, adapters=())
    encoders = sound("encoders", recipe.encoders, lambda key: changed(bare, encoders={key: recipe.encoders[key]}))
    heads = sound("heads", recipe.heads, lambda key: changed(bare, heads={key: recipe.heads[key]}))
    asked = {key: loss for key, loss in recipe.losses.items() if loss.head in heads}

    def with_head(key: str) -> Any:
        return changed(bare, heads={asked[key].head: heads[asked[key].head]}, losses={key: asked[key]})

    found: Recipe = changed(
        recipe,
        encoders=encoders,
        projectors={key: each for key, each in recipe.projectors.items() if key in encoders},
        heads=heads,
        losses=sound("losses", asked, with_head),
        metrics={key: each for key, each in recipe.metrics.items() if each.head in heads},
    )
    return found


def examine(recipe: Recipe, rows: Mapping[str, Rows], parts: Parts, problems: Problems) -> None:
    """What columns and labels say: fields that are not there or empty, labels that no head takes, rows without any."""
    for key in parts.encoders if "train" in rows else ():
        with problems.kept(f"encoders.{key}"):
            missing = absent(rows["train"], changed(parts, encoders={key: parts.encoders[key]}))
            hint = "leave the encoder out (`--without`), or fix its `field`"
            problems.add([Problem(text, hint=hint) for text in missing], f"encoders.{key}")
    for split, each in rows.items():
        with problems.kept():
            refuse_labels(split, each, parts, recipe.bad_rows)
    for key, metric in recipe.metrics.items():
        with problems.kept(f"metrics.{key}"):
            build_metrics({key: metric}, parts.heads)
    if "train" in rows:
        refuse_unlabelled(rows["train"], parts, problems)


def changed(options: Any, **tables: Any) -> Any:
    """A copy with other tables; attrs makes these classes behind the type checker's back."""
    return attrs.evolve(options, **tables)


def refuse_unlabelled(rows: Rows, parts: Parts, problems: Problems) -> None:
    """A head with a target of its own that none of the first rows has would learn nothing."""
    judged = {loss.head for loss in parts.losses.values()}
    looked = min(len(rows), LOOKED_AT)
    for key, target in target_processors(parts).items():
        if isinstance(target, TextTarget):
            continue  # of a row whose text supervises nothing the collator says so
        if key in judged and not any(labelled(target, rows[index].fields) for index in range(looked)):
            text = f"head `{key}`: none of the first {looked} training rows has a target that it takes"
            problems.add([Problem(text, hint=f"nothing would be supervised: see `heads.{key}.field`")], f"heads.{key}")


def labelled(target: Any, fields: Mapping[str, Any]) -> bool:
    """The row has a target, right or wrong: what is wrong is told elsewhere."""
    try:
        return target(fields) is not None
    except ValueError:
        return True
