"""Names of a model, and patterns of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from a2a_core.aliases import place, spoken
from a2a_core.errors import A2AError, Problem, suggest

if TYPE_CHECKING:
    from torch import nn

NUMBERS = re.compile(r"(?<![^.])(\d+|\*)(?![^.])")
"""Layers, in a name or in a pattern."""
LISTED = 12


def chosen(patterns: Iterable[str], names: Mapping[str, str], what: str) -> list[str]:
    """The names that some pattern fits, in the model's order; A2AError for each pattern that fits none.

    A pattern fits a whole name, or its end behind a dot: `q_proj` is `layers.0.self_attn.q_proj`, too. `names` says what each
    may be called as well (see a2a_core.aliases).
    """
    patterns, every = list(patterns), [*dict.fromkeys([*names.values(), *names])]
    lost = [pattern for pattern in patterns if not any(fits(name, pattern) for name in every)]
    if lost:
        raise A2AError([Problem(f"the pattern `{pattern}` fits no {what}", hint=near(pattern, every)) for pattern in lost])
    return [name for name, called in names.items() if any(fits(name, each) or fits(called, each) for each in patterns)]


def fits(name: str, pattern: str) -> bool:
    """Whether a pattern means this name."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def near(pattern: str, names: Collection[str]) -> str:
    """A hint: the pattern that was probably meant, as long as this one; else the last parts of the names, each once."""
    stem, ending = (pattern.removesuffix(".*"), ".*") if pattern.endswith(".*") else (pattern, "")
    close = get_close_matches(NUMBERS.sub("*", stem) + ending, pieces(names, stem.count(".") + 1), n=1, cutoff=0.7)
    return f"did you mean `{close[0]}`?" if close else listed(sorted({name.rpartition(".")[2] for name in names}))


def pieces(names: Iterable[str], length: int) -> list[str]:
    """So many parts of a name in a row, as patterns; layers are not told apart: `layers.*.q_proj`, `layers.*`."""
    found: dict[str, None] = {}
    for name in dict.fromkeys(NUMBERS.sub("*", name) for name in names):
        parts = name.split(".")
        for start in range(len(parts) - length + 1):
            found[".".join(parts[start : start + length]) + (".*" if start + length < len(parts) else "")] = None
    return list(found)


def listed(names: Sequence[str]) -> str:
    """All of them, or the first."""
    if not names:
        return "there is none"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"there is {', '.join(f'`{name}`' for name in names[:LISTED])}{more}"


def part_of(model: nn.Module, name: str) -> nn.Module:
    """A part by its dotted name (`encoders.image`, `fusion`, `fusion.vision`); A2AError where the model has none."""
    try:
        return model.get_submodule(place(model, name))
    except AttributeError:
        called = spoken(model, (path for path, _ in model.named_modules()))
        known = [path for path in {*called, *called.values()} if 0 < path.count(".") + 1 <= name.count(".") + 1]
        raise A2AError(f"the model has no part `{name}`", hint=suggest(name, known, where="a2a check --deep")) from None
