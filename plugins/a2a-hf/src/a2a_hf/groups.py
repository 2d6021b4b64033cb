"""Which parameters are trained how: every trainable one in exactly one group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn
from transformers import Trainer, TrainingArguments

from a2a_core import A2AError, Problem
from a2a_core.aliases import spoken
from a2a_core.errors import suggest
from a2a_hf.trainer import Group, HfTrainer

LISTED = 20


class Assigned(NamedTuple):
    """A group and its parameters by name."""

    name: str
    group: Group
    parameters: dict[str, nn.Parameter]


def assign(model: nn.Module, groups: Sequence[Group]) -> list[Assigned]:
    """Parameters by group; A2AError lists those in no group or several, and groups that match nothing."""
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not groups:
        return [Assigned("", Group(match="*"), named)]
    found: list[dict[str, nn.Parameter]] = [{} for _ in groups]
    problems = []
    called = spoken(model, (name for name, _ in model.named_parameters()))
    for name, parameter in named.items():
        hits = [place for place, group in enumerate(groups) if matches(name, group) or matches(called[name], group)]
        if len(hits) == 1:
            found[hits[0]][name] = parameter
        else:
            which = " and ".join(f"`{groups[place].match}`" for place in hits) or "no group"
            problems.append(Problem(f"parameter `{called[name]}` matches {which} of [[trainer.groups]]"))
    if len(problems) > LISTED:
        problems = [*problems[:LISTED], Problem(f"and {len(problems) - LISTED} parameters more")]
    every = {*called, *called.values()}
    for group, members in zip(groups, found, strict=True):
        if not members:
            frozen = any(matches(name, group) for name in every)
            why = "only frozen parameters" if frozen else "nothing"
            problems.append(
                Problem(f"group `{group.match}` of [[trainer.groups]] matches {why}", hint=suggest(group.match, every))
            )
    if problems:
        raise A2AError(problems)
    return [Assigned(group.match, group, members) for group, members in zip(groups, found, strict=True)]


def matches(name: str, group: Group) -> bool:
    """A parameter's name against a group's patterns."""
    return any(fnmatchcase(name, pattern.strip()) for pattern in group.match.split("|"))


def decayed(model: nn.Module) -> set[str]:
    """Names of the parameters that weight decay is for: weight matrices and kernels.

    Norms, biases and embeddings are left alone, and so are parameters that stand by themselves (latents, queries, class
    tokens, positions): decay would pull them to zero, and nothing rescales them.
    """
    found = set()
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim >= 2 and name.endswith("weight"):
                found.add(f"{prefix}.{name}" if prefix else name)
    return found


def optimizer_class(args: TrainingArguments, model: Any) -> tuple[Any, dict[str, Any]]:
    """The class that transformers takes for `args.optim`, and its arguments; A2AError where it is not installed."""
    try:
        made, keywords = Trainer.get_optimizer_cls_and_kwargs(args, model)
    except (ImportError, ValueError) as error:
        raise A2AError(f"optimizer `{getattr(args.optim, 'value', args.optim)}`: {error}") from error
    return made, keywords


def optimizer_groups(assigned: Iterable[Assigned], config: HfTrainer, model: nn.Module) -> list[dict[str, Any]]:
    """torch's parameter groups: each of ours with and without decay."""
    matrices, made = decayed(model), []
    for name, group, parameters in assigned:
        decay = config.weight_decay if group.weight_decay is None else group.weight_decay
        rate = config.learning_rate if group.learning_rate is None else group.learning_rate
        for wanted in (True, False):
            members = [parameter for key, parameter in parameters.items() if (key in matrices) is wanted]
            if members:
                made.append({"params": members, "lr": rate, "weight_decay": decay if wanted else 0.0, "group": name})
    return made
