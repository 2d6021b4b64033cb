"""What a pass on the meta device shows of a model, without memory or weights."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def tracing() -> Iterator[None]:
    """On the meta device, with gradients, whatever is set around it."""
    with torch.device("meta"), torch.inference_mode(False), torch.enable_grad():
        yield


def unreached(model: nn.Module, output: Tensor) -> frozenset[str]:
    """Parameters that get no gradient from an output: poolers, mask tokens, layers behind the one that is used."""
    torch.autograd.backward(output.sum())
    return frozenset(name for name, parameter in model.named_parameters() if parameter.grad is None)


def freeze(model: nn.Module, names: Collection[str]) -> None:
    """Freeze the named parameters and no others."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in names)
