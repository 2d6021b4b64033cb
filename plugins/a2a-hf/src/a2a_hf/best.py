"""The number that tells the best checkpoint: which there are to choose from, and which way is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_core.errors import Problem, suggest

if TYPE_CHECKING:
    from a2a_core.recipe import Recipe


def evaluated(recipe: Recipe) -> list[str]:
    """The splits that are evaluated during training."""
    return [split for split in recipe.data if split not in ("train", "test")]


def numbers(recipe: Recipe) -> list[str]:
    """What an evaluation gives (see a2a_core.evaluate), as far as the recipe alone tells: a metric may have more results."""
    terms = [f"{key}/{term}" for key, loss in recipe.losses.items() for term in loss.terms]
    heads = dict.fromkeys(loss.head for loss in recipe.losses.values() if loss.terms)
    several = [f"loss/{term}" for term in terms] if len(terms) > 1 else []
    several += [f"head_loss/{head}" for head in heads] if len(heads) > 1 else []
    return ["loss", *several, *(key for key, metric in recipe.metrics.items() if not metric.tabular)]


def bare(recipe: Recipe, name: str) -> str:
    """The name without its split."""
    split, _, rest = name.partition("/")
    return rest if rest and split in evaluated(recipe) else name


def misnamed(recipe: Recipe, name: str) -> Problem | None:
    """What is wrong with a name that no number has."""
    there, wanted = numbers(recipe), bare(recipe, name)
    metric, _, result = wanted.partition("/")
    if wanted in there or (result and metric in recipe.metrics):
        return None
    close = suggest(wanted, there)
    hint = f"there is {', '.join(f'`{each}`' for each in there)}"
    if splits := evaluated(recipe):
        hint += f"; of one split {', '.join(f'`{split}/…`' for split in splits)}"
    if close.startswith("did"):
        hint = f"{close} {hint}"
    return Problem(f"`trainer.best` = `{name}` is no metric of this run", hint=hint)


def more_is_better(recipe: Recipe, name: str) -> bool:
    """As the metric says; less of a loss is better."""
    metric = recipe.metrics.get(bare(recipe, name).partition("/")[0])
    return metric is not None and metric.higher_is_better
