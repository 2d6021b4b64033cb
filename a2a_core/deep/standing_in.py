"""A part that cannot be traced is stood in for: what is known of it goes on to the others.

Fake tensors have no values. A part whose shapes depend on values (boolean indexing, `.item()`) fails on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from a2a_core.builtin.linear import LinearProjector
from a2a_core.components import ProjectorConfig
from a2a_core.errors import A2AError, Problem
from a2a_core.model import A2AModel
from a2a_core.structures import Fused, Tokens


class Part(NamedTuple):
    """A part of the model by its place."""

    path: str
    module: nn.Module


def parts_of(model: A2AModel) -> list[Part]:
    """Encoders, projectors, fusion, heads, losses, in the order that they run."""
    found = [Part(f"encoders.{key}", module) for key, module in model.encoders.items()]
    found += [Part(f"projectors.{key}", module) for key, module in model.projectors.items()]
    found.append(Part("fusion", model.fusion))
    found += [Part(f"heads.{key}", module) for key, module in model.heads.items()]
    return found + [Part(f"losses.{key}", module) for key, module in model.losses.items()]


@contextmanager
def stand_ins(model: A2AModel, longest: Mapping[str, int], notes: list[str], refused: list[Problem]) -> Iterator[None]:
    """While this lasts, a part that fails gives what it should have given, and a note says why, or what it refused."""
    with ExitStack() as stack:
        for path, module in parts_of(model):
            module.forward = guarded(path, module.forward, instead_of(model, path, longest), notes, refused)
            stack.callback(delattr, module, "forward")
        yield


def guarded(
    path: str, forward: Callable[..., Any], instead: Callable[..., Any], notes: list[str], refused: list[Problem]
) -> Callable[..., Any]:
    """A forward that does not fail."""

    def run(*args: Any, **kwargs: Any) -> Any:
        if path.startswith("losses.") and not args[0]:
            return {}  # its head failed
        try:
            return forward(*args, **kwargs)
        except A2AError as error:  # a mistake of the recipe's; what follows from it is none
            refused.extend(error.problems if not refused else ())
            return instead(*args, **kwargs)
        except Exception as error:  # shapes that depend on values have an exception for each kind
            notes.append(f"`{path}` cannot be traced ({reason(error)}): it is left out of the figures")
            return instead(*args, **kwargs)

    return run


def reason(error: Exception) -> str:
    """The first line of an exception."""
    text = str(error).strip().split("\n")[0][:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def instead_of(model: A2AModel, path: str, longest: Mapping[str, int]) -> Callable[..., Any]:
    """What a part should give, as far as that is known."""
    kind, _, key = path.partition(".")
    if kind == "encoders":
        return partial(encoder, model.encoders[key], longest.get(key, 1))
    if kind == "projectors":
        return partial(projector, model.parts.projectors.get(key, LinearProjector()), model.fusion)
    return partial(fusion, model.fusion) if kind == "fusion" else nothing


def encoder(module: Any, length: int, **tensors: Tensor) -> Tokens:
    """As many tokens as its items say."""
    first = next(iter(tensors.values()))
    values = torch.zeros(first.shape[0], length, int(module.width), device=first.device)
    return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=first.device))


def projector(config: ProjectorConfig, joined: Any, tokens: Tokens) -> Tokens:
    """As many tokens as it says, as wide as the fusion wants them."""
    several, length, width = tokens.values.shape
    values = tokens.values.new_zeros(several, config.length(length), joined.input_width or width)
    return Tokens(values, tokens.mask.new_ones(values.shape[:2]))


def fusion(module: Any, encoded: Mapping[str, Tokens], inputs: Mapping[str, Any]) -> Fused:
    """A pooled vector, and each encoder's tokens."""
    size = inputs["size"]
    device = next(module.parameters()).device
    pooled = None if module.width is None else torch.zeros(size, int(module.width), device=device)
    return Fused(size, None, pooled, {key: tokens.by_sample(size) for key, tokens in encoded.items()})


def nothing(*_: Any) -> dict[str, Tensor]:
    """No outputs, or no totals."""
    return {}
