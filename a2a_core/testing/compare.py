"""Tensors and what holds them: taken apart, moved, changed and compared; randomness that leaves no trace."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from a2a_core.structures import Tokens
from a2a_core.testing.check import fail

TOLERANCE = 1e-4
"""Largest difference, as a fraction of the largest value, that counts as rounding in float32."""


M = TypeVar("M", bound=nn.Module)


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """The global generators of torch, random and numpy start from `seed` and are put back afterwards."""
    numpy = sys.modules.get("numpy")
    before = random.getstate(), numpy.random.get_state() if numpy else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            if numpy:
                numpy.random.set_state(before[1])


def mapped(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same dicts, lists and tuples with every tensor replaced."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(value, function) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(value, function) for value in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(mapped(value, function) for value in tree)
    return tree


def tensors(tree: Any, name: str = "") -> dict[str, Tensor]:
    """Every tensor by its dotted name; values of tokens that are masked out count as 0, for nobody may look at them."""
    if isinstance(tree, Tensor):
        return {name: tree}
    if isinstance(tree, Tokens):
        tree = {"values": tree.values.masked_fill(~tree.mask[..., None], 0), "mask": tree.mask}
    elif isinstance(tree, tuple) and hasattr(tree, "_asdict"):
        tree = tree._asdict()
    elif isinstance(tree, (list, tuple)):
        tree = dict(enumerate(tree))
    if not isinstance(tree, Mapping):
        return {}
    found: dict[str, Tensor] = {}
    for key, value in tree.items():
        found |= tensors(value, f"{name}.{key}" if name else str(key))
    return found


def same(what: str, wanted: Tensor, got: Tensor, because: str, remedy: str, tolerance: float = TOLERANCE) -> None:
    """`fail` unless two tensors agree to `tolerance` of the largest value (0: exactly)."""
    __tracebackhide__ = True
    if wanted.shape != got.shape:
        fail(what, f"shape {tuple(wanted.shape)} against {tuple(got.shape)}", because, remedy)
    if not wanted.numel():
        return
    gap = (wanted.double() - got.double()).abs()
    largest, scale = gap.max().item(), max(wanted.double().abs().max().item(), 1e-3)
    if largest <= tolerance * scale:  # False for NaN
        return
    place = tuple(int(index) for index in torch.unravel_index(gap.nan_to_num(nan=float("inf")).argmax(), gap.shape))
    allowed = f"{tolerance * scale:.2g} is rounding" if tolerance else "they must be equal"
    fail(what, f"the largest difference is {largest:.3g} (at {list(place)}); {allowed}", because, remedy)


def finite(tree: Any) -> bool:
    """No NaN and no infinity anywhere."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors(tree).values() if tensor.is_floating_point())


def weighted_sum(tree: Any) -> Tensor:
    """A number in which every output counts differently: no gradient cancels (the plain sum of a LayerNorm is constant)."""
    total = torch.zeros(())
    generator = torch.Generator().manual_seed(0)
    for tensor in tensors(tree).values():
        if tensor.requires_grad and tensor.numel():
            weights = torch.randn(tensor.shape, generator=generator)
            total += (tensor.float() * weights).sum()
    return total


def enlivened(module: M) -> M:
    """The module with noise on every parameter: gates and scales that start at zero hide what lies behind them."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.is_floating_point():
                continue
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 25
            noise = torch.randn(parameter.shape, generator=generator) * 0.5 / max(fan_in, 1) ** 0.5
            parameter.add_(noise.to(parameter))
    return module


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normally distributed, the same at every call."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
