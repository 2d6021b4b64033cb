"""Names of a model, and patterns of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from a2a_core.errors import A2AError, Problem, suggest

if TYPE_CHECKING:
    from torch import nn


def chosen(patterns: Iterable[str], names: Sequence[str], what: str) -> list[str]:
    """The names that some pattern fits, in the model's order; A2AError for each pattern that fits none.

    A pattern fits a whole name, or its end behind a dot: `q_proj` is `layers.0.self_attn.q_proj`, too.
    """
    patterns = list(patterns)
    lost = [pattern for pattern in patterns if not any(fits(name, pattern) for name in names)]
    if lost:
        raise A2AError([Problem(f"the pattern `{pattern}` fits no {what}", hint=near(pattern, names)) for pattern in lost])
    return [name for name in names if any(fits(name, pattern) for pattern in patterns)]


def fits(name: str, pattern: str) -> bool:
    """Whether a pattern means this name."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def near(pattern: str, names: Collection[str]) -> str:
    """A hint: the last parts of the names, each once, or the one that was probably meant."""
    return suggest(pattern, dict.fromkeys(name.rpartition(".")[2] for name in names))


def part_of(model: nn.Module, name: str) -> nn.Module:
    """A part by its dotted name (`encoders.image`, `fusion`); A2AError where the model has none."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        known = [path for path, _ in model.named_modules() if 0 < path.count(".") + 1 <= name.count(".") + 1]
        raise A2AError(f"the model has no part `{name}`", hint=suggest(name, known)) from None
