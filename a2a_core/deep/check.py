"""The deep check: a recipe's data, model, arithmetic and memory, without a weight being read or a model's tensor allocated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import attrs
import torch

from a2a_core.components import BackendConfig, TrainerConfig
from a2a_core.data import collator, prepare
from a2a_core.deep import samples as looked
from a2a_core.deep.assumptions import assumptions
from a2a_core.deep.building import build
from a2a_core.deep.fakes import Fakes
from a2a_core.deep.fitting import fit
from a2a_core.deep.memory import BACKENDS, SETTINGS, Measured, memory, rows_at_once, sizes
from a2a_core.deep.report import Report
from a2a_core.deep.scaling import Traces
from a2a_core.deep.states import States, measure
from a2a_core.deep.survey import examine, looked_at_all, open_rows, resolved_parts
from a2a_core.deep.tracing import Trace, trace
from a2a_core.deep.tree import by_group, by_thaw, count, tree
from a2a_core.errors import Problem
from a2a_core.evaluate import refuse_unfit
from a2a_core.job import notes, trainable
from a2a_core.mistakes import Problems
from a2a_core.structures import Batch, Plan, Sample

if TYPE_CHECKING:
    from a2a_core.components import Rows
    from a2a_core.model import A2AModel
    from a2a_core.recipe import Loaded, Parts, Recipe
    from a2a_core.streams import Stream

LISTED = 8


class Ask(NamedTuple):
    """What the user wants to know."""

    samples: int = 8
    """Rows to look at, of each split."""
    ranks: int = 8
    """Of backends that spread a model."""
    limit: int | None = None
    """Bytes of a device: what fits there?"""


class Batched(NamedTuple):
    """Real rows of `train`, as samples and as a batch; None where there is none."""

    samples: Sequence[Sample] = ()
    batch: Batch | None = None


def check(loaded: Loaded, ask: Ask) -> Report:
    """Everything that can be found out; what cannot be done for one part's mistake is left out, the mistakes are collected."""
    problems = Problems(loaded.tree)
    found = Report()
    rows = open_rows(loaded.recipe, problems)
    told: list[str] = []
    with problems.kept("data"):
        told = notes(rows)
    if "train" in rows:
        recipe, parts = resolved_parts(loaded.recipe, rows["train"], problems)
        if parts is not None:
            looked_at = looked_at_all(rows, problems)
            examine(recipe, looked_at, parts, problems)
            found, given = read(recipe, parts, {split: rows[split] for split in looked_at}, ask.samples, problems)
            fakes = Fakes(device(recipe.backend))
            model = build(fakes, parts, problems)
            if model is not None:
                found = described(loaded, recipe, fakes, model, given, ask, found, problems)
    return attrs.evolve(found, row_notes=told, problems=tuple(problems))


def device(backend: BackendConfig) -> str:
    """Where the run would compute, as far as this machine can tell: kernels differ, and with them what they keep."""
    return "cpu" if backend.arguments().get("use_cpu", False) or not torch.cuda.is_available() else "cuda"


def read(
    recipe: Recipe, parts: Parts, rows: Mapping[str, Rows | Stream], several: int, problems: Problems
) -> tuple[Report, Batched]:
    """The first samples of every split; those of `train` as a batch."""
    described, batches, given = [], [], Batched()
    for split, each in rows.items():
        with problems.kept(f"data.{split}"):
            collate = collator(recipe.collator, parts)
            data = prepare(each, parts, read=collate.read)
            samples = data.first(several)
            described += looked.described(split, samples, parts)
            looked.refuse_bad(split, data, samples, recipe.bad_rows, problems)
            about, batch = looked.batched(split, data, samples, collate, parts, problems)
            batches.append(about)
            if split == "train":
                given = Batched([sample for sample in samples if isinstance(sample, Sample)], batch)
    return Report(samples=described, batches=batches), given


def described(
    loaded: Loaded, recipe: Recipe, fakes: Fakes, model: A2AModel, given: Batched, ask: Ask, found: Report, problems: Problems
) -> Report:
    """The model: its parameters, and with a batch its shapes, its arithmetic and its memory."""
    whole = same_parts(loaded.recipe, model)
    for key, metric in recipe.metrics.items():
        if metric.head in model.heads:
            with problems.kept(f"metrics.{key}"):
                refuse_unfit({key: metric}, model)
    plan, grouped = planned(recipe, model, problems, whole)
    micro = rows_at_once("single", 1, plan)
    found = attrs.evolve(
        found,
        parts=tree(model, grouped, None, loaded.catalog),
        micro_batch=micro,
        batch_size=plan.batch_size,
        parameters=count(model.parameters()),
        trainable=count(each for each in model.parameters() if each.requires_grad),
        groups=by_group(model, grouped),
        thaws=by_thaw(model),
    )
    if given.batch is None:
        return found
    batch, longest = given.batch, looked.longest(given.samples, model.parts)

    def run(several: int) -> Trace:
        return trace(fakes, model, batch, several, plan, longest)

    traced = Traces(run)
    once = traced(micro)
    problems.add(looked.misplaced(given.samples, once.emitted, model.parts))
    problems.add(once.refused)
    if whole and not once.refused:  # what was left out for a mistake of its own might have reached them
        problems.add(unreached(once))
    found = attrs.evolve(
        found,
        parts=tree(model, grouped, once, loaded.catalog),
        flops=sum(once.flops.values()) * plan.batch_size // micro,
        notes=(*once.notes, *looked.beyond(longest, once.emitted)),
    )
    if not found.trainable:  # `planned` said so; an optimizer of nothing would fail in words of its own
        return found
    with problems.kept("trainer"):
        states = optimizer_states(fakes, model, recipe.trainer, problems, bool(grouped))
        rows = {name: rows_at_once(name, ask.ranks, plan) for name in BACKENDS}
        measured = Measured(sizes(model), states, plan)
        known = loaded.catalog.names("backend")
        offered = {name: SETTINGS[name]["backend.use"] in known for name in BACKENDS}
        found = attrs.evolve(
            found,
            memory=[memory(name, ask.ranks, traced(rows[name]), measured, offered[name]) for name in BACKENDS],
            assumptions=assumptions(plan, ask.ranks, fakes.device.type, len(given.samples), model),
        )
        if ask.limit is not None:
            answer = fit(ask.limit, traced, measured, ask.ranks, offered)
            found = attrs.evolve(found, fit=answer)
    return found


def same_parts(recipe: Recipe, model: A2AModel) -> bool:
    """The model has every part of the recipe: none was left out for its mistakes."""
    parts = model.parts
    named = all(getattr(recipe, kind).keys() == getattr(parts, kind).keys() for kind in ("encoders", "heads", "losses"))
    return named and len(recipe.adapters) == len(parts.adapters)


def planned(recipe: Recipe, model: A2AModel, problems: Problems, whole: bool) -> tuple[Plan, dict[str, str]]:
    """What the trainer would do; all that it refuses."""
    plan, grouped = Plan(), dict[str, str]()
    with problems.kept():
        trainable(model)
    with problems.kept("trainer"):
        recipe.trainer.refuse(recipe, model)
    with problems.kept("backend"):
        recipe.backend.refuse(recipe, model)
    with (problems if whole else Problems(problems.tree)).kept("trainer"):  # a group may be for a part that was left out
        grouped = dict(recipe.trainer.grouped(model))
    with problems.kept("trainer"):
        plan = recipe.trainer.plan()
        if plan.gradient_checkpointing:
            model.activation_checkpointing_enable()
    return plan, grouped


def optimizer_states(fakes: Fakes, model: A2AModel, trainer: TrainerConfig, problems: Problems, grouped: bool) -> States:
    """Of the recipe's optimizer; of AdamW where that cannot be had, which is a mistake of its own."""
    if grouped:
        with problems.kept("trainer"):
            return measure(fakes, model, trainer.build_optimizer)
    return measure(fakes, model, partial(TrainerConfig.build_optimizer, trainer))


def unreached(found: Trace) -> list[Problem]:
    """Parameters that would be saved as they were initialised; what a part that was left out would reach is not known."""
    if not found.unreached or found.notes:
        return []
    names = found.unreached
    listed = ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
    hint = "freeze them, or give a loss to the head that they belong to"
    return [Problem(f"{len(names)} trainable parameter(s) receive no gradient: {listed}", hint=hint)]
