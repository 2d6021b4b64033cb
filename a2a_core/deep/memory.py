"""Bytes a rank needs, for each way to spread a model over ranks.

`single` and `ddp` are measured: weights, gradients, optimizer states and activations as they come and go in one step. The
others are the formulas of ZeRO (arXiv 1910.02054, section 5, as DeepSpeed has them) and of torch's fully_shard, filled with
the same measurements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import attrs
from torch import nn

from a2a_core.deep.fakes import bytes_of
from a2a_core.deep.report import Memory
from a2a_core.deep.states import States
from a2a_core.deep.tracing import Trace
from a2a_core.structures import Plan

BUCKET = 500_000_000
"""Elements that DeepSpeed reduces or gathers at once, by default."""
MASTER = 4
"""Bytes of an element of the float32 copy that DeepSpeed's optimizers keep of their share."""


@attrs.frozen(slots=False)
class Sizes:
    """What a model weighs."""

    trainable: int
    """Bytes of parameters that are trained."""
    frozen: int
    """Bytes of those that are not, and of buffers."""
    elements: int
    """Numbers that are trained."""
    unit: int
    """Bytes of the largest layer."""
    rest: int
    """Bytes of what is in no layer: embeddings, heads."""


class Need(NamedTuple):
    """What a backend keeps on a rank."""

    weights: float
    gradients: float
    optimizer: float
    buffers: float
    sharded: bool
    """Gradients leave for their rank while backward makes them."""


def sizes(model: nn.Module) -> Sizes:
    """Of a model on fake tensors."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    still = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    units = [bytes_of(layer.parameters()) for layer in layers(model)]
    total = bytes_of(model.parameters())
    return Sizes(
        trainable=bytes_of(trained),
        frozen=bytes_of([*still, *model.buffers()]),
        elements=sum(parameter.numel() for parameter in trained),
        unit=max(units, default=0),
        rest=max(0, total - sum(units)),
    )


def layers(module: nn.Module) -> Iterable[nn.Module]:
    """The outermost entries of lists of modules: what is gathered at once by those that shard weights."""
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from layers(child)


def single(size: Sizes, states: States, _: int = 1) -> Need:
    """Everything on one device."""
    return Need(size.trainable + size.frozen, size.trainable, states.kept, 0, sharded=False)


def ddp(size: Sizes, states: States, _: int = 1) -> Need:
    """The same, and the buckets in which gradients are averaged: as large as all of them."""
    return single(size, states)._replace(buffers=size.trainable)


def zero_1(size: Sizes, states: States, ranks: int) -> Need:
    """Optimizer states, and a copy of the weights that they are for, are spread; each rank has all weights to compute with."""
    kept = (states.kept + MASTER * size.elements) / ranks
    return Need(size.trainable + size.frozen, size.trainable, kept, min(BUCKET, size.elements) * MASTER, sharded=False)


def zero_2(size: Sizes, states: States, ranks: int) -> Need:
    """Gradients are spread, too."""
    need = zero_1(size, states, ranks)
    return need._replace(gradients=need.gradients / ranks, sharded=True)


def zero_3(size: Sizes, states: States, ranks: int) -> Need:
    """Weights are spread, too, and gathered layer by layer: the one at work and the next, and the gradient of one."""
    need = zero_2(size, states, ranks)
    return need._replace(weights=need.weights / ranks, buffers=3 * size.unit + size.rest)


def fsdp(size: Sizes, states: States, ranks: int) -> Need:
    """fully_shard by layers: shares, frozen ones too, gathered to compute with; what is in no layer stays gathered."""
    every = size.trainable + size.frozen
    return Need(every / ranks, size.trainable / ranks, states.kept / ranks, 3 * size.unit + 2 * size.rest, sharded=True)


BACKENDS: dict[str, Callable[[Sizes, States, int], Need]] = {
    "single": single,
    "ddp": ddp,
    "zero-1": zero_1,
    "zero-2": zero_2,
    "zero-3": zero_3,
    "fsdp": fsdp,
}


SETTINGS: dict[str, dict[str, str | int | bool]] = {
    **{name: {"backend.use": name} for name in ("single", "ddp")},
    **{f"zero-{stage}": {"backend.use": "deepspeed", "backend.stage": stage} for stage in (1, 2, 3)},
    "fsdp": {"backend.use": "fsdp", "backend.shard_frozen": True},
}
"""What a recipe says for each; that frozen weights are spread, too, nobody has to say where there are none."""


class Measured(NamedTuple):
    """What is the same for every backend."""

    size: Sizes
    states: States
    plan: Plan


def rows_at_once(backend: str, ranks: int, plan: Plan) -> int:
    """Of a rank: a micro-batch, or without one all of its share of a step."""
    return plan.micro_batch or max(1, plan.batch_size // (1 if backend == "single" else ranks))


def memory(backend: str, ranks: int, found: Trace, measured: Measured, installed: bool) -> Memory:
    """One rank's bytes with micro-batches as they were traced."""
    size, states, plan = measured
    need = BACKENDS[backend](size, states, ranks)
    activations, first, *_ = found.peaks
    held = found.inputs + need.weights + need.optimizer + need.buffers
    if need.sharded or accumulated(found.rows, plan, ranks if backend != "single" else 1):
        during = need.gradients + activations
    else:
        during = max(first, activations)
    passing = states.passing * need.optimizer / states.kept if states.kept else states.passing
    peak = held + max(during, need.gradients + passing)
    return Memory(
        backend,
        1 if backend == "single" else ranks,
        found.rows,
        int(need.weights),
        int(need.gradients),
        int(need.optimizer),
        activations + found.inputs,
        int(need.buffers),
        int(peak),
        installed,
    )


def accumulated(rows: int, plan: Plan, ranks: int) -> bool:
    """A rank does several micro-batches before a step."""
    return rows * ranks < plan.batch_size
