"""A recipe made real: rows opened, parts resolved, the model built; what a trainer needs to run it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from a2a_core.components import AdapterConfig, FusionConfig, HeadConfig, SourceConfig
from a2a_core.data import Collate, Prepared, Streamed, absent, collator, prepare, target_processors, unread
from a2a_core.errors import A2AError, Problem
from a2a_core.evaluate import build_metrics, refuse_unfit
from a2a_core.mistakes import placed
from a2a_core.model import A2AConfig, A2AModel
from a2a_core.reasons import problems
from a2a_core.recipe import Parts, Recipe, structure_parts
from a2a_core.streams import Stream, judged_over, looked_at
from a2a_core.structures import Row

if TYPE_CHECKING:
    import torch

    from a2a_core.components import Rows
    from a2a_core.grouping import Groups
    from a2a_core.plugins import Catalog
    from a2a_core.recipe import Loaded
    from a2a_core.reporter import Reporter
    from a2a_core.runs import Run


@attrs.frozen(slots=False, eq=False)
class Job:
    """Everything that a trainer needs. `data` has every split of the recipe, `train` among them."""

    recipe: Recipe
    run: Run
    model: A2AModel
    data: Mapping[str, Prepared | Streamed]
    collate: Collate
    reporter: Reporter
    resume: Path | None = None
    """The checkpoint to go on from."""

    def cache_features(
        self, device: torch.device, autocast: Callable[[], AbstractContextManager[Any]] = nullcontext, workers: int = 0
    ) -> None:
        """Compute what frozen encoders make of all media now, or take it from the user's cache; see a2a_core.features.

        For trainers: every rank calls it once, when the model is on its `device` and before the first batch is read, with
        the `autocast` that training runs under. From then on `data` gives features in place of media, `collate` pads
        them, and the model skips the encoders. A trainer that does not call it computes them each time.
        """
        from a2a_core.features.cache import cache_features

        cache_features(self, device, autocast, workers)

    def group(self, split: str, workers: int = 0) -> Groups | None:
        """The rows of a split that share places in batches, where the collator packs or buckets them; see a2a_core.grouping.

        For trainers: every rank calls it after `cache_features`, judges the bad rows, calls `keep`, and gives `groups` to
        Batches. None: rows stay alone.
        """
        from a2a_core.grouping import group

        data = self.data[split]
        if isinstance(data, Streamed):
            if self.collate.group is not None:
                text = f"the rows of `{split}` come as a stream: which of them go together is not known beforehand"
                raise A2AError(
                    text, hint="leave packing and buckets out of [collator], or read the rows by a source with an index"
                )
            return None
        return group(
            split,
            data,
            self.collate,
            shuffle=split == "train",
            seed=self.recipe.seed,
            folder=self.run.folder,
            workers=workers,
            reporter=self.reporter,
        )


@attrs.frozen(slots=False)
class Result:
    """How a run ended. `results` maps split -> metric -> value."""

    status: str
    steps: int
    results: Mapping[str, Mapping[str, Any]]
    seconds: float


def assemble(loaded: Loaded, run: Run, reporter: Reporter, resume: Path | None = None) -> Job:
    """Open the data, resolve the parts and build the model, or on resuming, rebuild the model that was saved."""
    recipe = loaded.recipe
    rows = {split: opened(split, source) for split, source in recipe.data.items()}
    for text in notes(rows):
        reporter.note(text)
    looked = {split: looked_at(each) for split, each in rows.items()}
    with placed(loaded.tree):
        parts = resolve(recipe, rows["train"]) if resume is None else saved_parts(resume, loaded.catalog)
    missing = absent(looked["train"], parts)
    if missing:
        raise A2AError([Problem(text, hint="leave the encoder out (`--without`), or fix its `field`") for text in missing])
    for text in unread(looked["train"], parts):
        reporter.note(text)
    for split, each in looked.items() if resume is None else ():
        refuse_labels(split, each, parts, recipe.bad_rows)
    seed_everything(recipe.seed)
    if resume is None:
        with placed(loaded.tree):
            model = A2AModel.from_parts(parts, starting(recipe))
    else:
        refuse_other_adapters(recipe, parts, resume)
        model = A2AModel(A2AConfig.from_pretrained(resume), parts)
    trainable(model)
    build_metrics(recipe.metrics, parts.heads)  # what does not fit its head is said now, not at the first evaluation
    with placed(loaded.tree):
        refuse_unfit(recipe.metrics, model)
    collate = collator(recipe.collator, parts)
    data = {split: prepare(each, parts, read=collate.read) for split, each in rows.items()}
    return Job(recipe, run, model, data, collate, reporter, resume)


def opened(split: str, source: SourceConfig) -> Rows | Stream:
    """A split's rows; what is wrong with them names the split."""
    try:
        return source.build()
    except A2AError as error:
        named = [attrs.evolve(problem, message=f"[data.{split}] {problem.message}") for problem in error.problems]
        raise type(error)(named) from error


def notes(rows: Mapping[str, Rows | Stream]) -> list[str]:
    """What sources say of their rows, with the split."""
    return [f"[data.{split}] {text}" for split, each in rows.items() for text in getattr(each, "notes", ())]


LOOKED_AT = 2000
"""Rows of a split whose labels are read before anything is trained."""


def refuse_labels(split: str, rows: Rows, parts: Parts, limit: float) -> None:
    """Labels that no head can take are found now, not at the first evaluation; media are not read for it."""
    targets = target_processors(parts)
    bad: list[tuple[Row, str]] = []
    looked = min(len(rows), LOOKED_AT)
    for index in range(looked if targets else 0):
        row = rows[index]
        try:
            for target in targets.values():
                target(row.fields)
        except ValueError as error:
            bad.append((row, str(error)))
    if len(bad) > limit * judged_over(rows):
        text = f"{len(bad)} of the first {looked} rows of `{split}` have labels that their head cannot take"
        hint = "classes that `[heads.…] classes` does not name are those of the training rows" if split != "train" else ""
        raise A2AError([*problems(bad), Problem(text, hint=hint)])


def resolve(recipe: Recipe, rows: Rows | Stream) -> Parts:
    """The model's parts, self-contained: what paths and training rows say is read in."""
    assert recipe.fusion is not None, "load_recipe(for_run=True) refuses a recipe without a fusion"
    problems: list[Problem] = []
    column = unknown if isinstance(rows, Stream) else rows.column

    def resolved(table: str, part: Any, *given: Any) -> Any:
        try:
            return part.resolved(*given)
        except (ValueError, KeyError, OSError) as error:
            problems.append(Problem(f"[{table}] {error.args[0] if isinstance(error, KeyError) else error}"))
            return part

    encoders = {key: resolved(f"encoders.{key}", part) for key, part in recipe.encoders.items()}
    heads: dict[str, HeadConfig] = {
        key: resolved(f"heads.{key}", part, column).knowing(encoders) for key, part in recipe.heads.items()
    }
    fusion = resolved("fusion", grown(recipe.fusion, recipe.adapters))
    losses = (
        {key: resolved(f"losses.{key}", part, heads[part.head], column) for key, part in recipe.losses.items()}
        if not problems
        else {}
    )
    if problems:
        raise A2AError(problems)
    return Parts(
        encoders=encoders,
        projectors=dict(recipe.projectors),
        fusion=fusion,
        heads=heads,
        losses=losses,
        adapters=tuple(recipe.adapters),
    )


def unknown(field: str) -> Iterable[Any]:
    """In place of a field's values in a stream."""
    raise ValueError(
        f"`{field}` would have to be read in all rows, and they come as a stream; "
        "say in the recipe what is to be learned there, as `classes = […]` does"
    )


def grown(fusion: FusionConfig, adapters: Sequence[AdapterConfig]) -> FusionConfig:
    """The fusion with the tokens that adapters bring."""
    for number, adapter in enumerate(adapters):
        tokens = adapter.new_tokens()
        try:
            fusion = fusion.with_tokens(tokens) if tokens else fusion
        except A2AError as error:
            error.table = f"adapters.{number}"
            raise
    return fusion


def starting(recipe: Recipe) -> Callable[[A2AModel], None] | None:
    """What gives a new model the weights that the recipe starts with."""
    path = recipe.init_from
    if path is None:
        return None
    from a2a_core.starting import folder_of, start_with

    folder_of(path)  # before anything is built
    return lambda model: start_with(model, path, recipe.init_but)


def saved_parts(folder: Path, catalog: Catalog) -> Parts:
    """The parts that a saved model was built from."""
    return structure_parts(A2AConfig.from_pretrained(folder).parts, catalog)


def refuse_other_adapters(recipe: Recipe, parts: Parts, checkpoint: Path) -> None:
    """A checkpoint holds what its adapters made of the model: with others there is no going on."""
    if tuple(recipe.adapters) != tuple(parts.adapters):
        raise A2AError(
            f"`adapters` of the recipe are not those that {checkpoint} was trained with",
            hint="go on with the recipe that the run began with; for other adapters begin a new run, with `init_from`",
        )


def seed_everything(seed: int) -> None:
    """Python, numpy and torch."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def trainable(model: A2AModel) -> None:
    """A model that would train nothing is an error."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise A2AError("every parameter is frozen: there is nothing to train", hint="see `freeze` and `[[adapters]]`")
