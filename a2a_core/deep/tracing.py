"""One forward and backward pass on fake tensors: shapes, arithmetic, and the memory that it would take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from a2a_core.deep.fakes import Fakes, bytes_of, every_tensor
from a2a_core.deep.ledger import Ledger, Peaks
from a2a_core.deep.standing_in import Part, parts_of, reason, stand_ins
from a2a_core.errors import Problem
from a2a_core.model import A2AModel
from a2a_core.structures import Batch, Fused, Output, Plan, Tokens

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
Shapes = dict[str, tuple[int, ...]]


@attrs.frozen(slots=False)
class Trace:
    """What one micro-batch shows. Bytes are those of one rank."""

    rows: int
    inputs: int
    """Bytes of the batch."""
    moments: Tensor
    """What lived after each thing that was made, see Ledger."""
    peaks: Peaks
    shapes: Mapping[str, tuple[Shapes, Shapes]]
    """Part -> what goes in and what comes out, of the largest of its passes."""
    emitted: Mapping[str, int]
    """Encoder -> the most positions of any of its passes: those that share weights run more than once."""
    flops: Mapping[str, int]
    """Part -> forward and backward; "" is what lies between parts."""
    unreached: tuple[str, ...]
    """Trainable parameters without a gradient."""
    notes: tuple[str, ...]
    """Parts that cannot be traced, and why."""
    refused: tuple[Problem, ...] = ()
    """What a part says is wrong with the recipe."""

    @property
    def complete(self) -> bool:
        """Nothing was left out."""
        return not self.notes and not self.refused


def trace(fakes: Fakes, model: A2AModel, real: Batch, rows: int, plan: Plan, longest: Mapping[str, int]) -> Trace:
    """Forward and backward of so many rows like those of `real`; `longest` are each encoder's tokens, should it fail."""
    batch = fakes.batch(real, rows)
    given = list(tensors({"inputs": batch["inputs"], "targets": batch["targets"]}))
    ledger = Ledger(every_tensor(model), given)
    passes: dict[str, list[tuple[Shapes, Shapes]]] = {}
    notes: list[str] = []
    refused: list[Problem] = []
    with fakes.mode, stand_ins(model, longest, notes, refused), watched(model, ledger, passes), ledger:
        loss = forward(model, batch, plan, fakes.device.type)
        backward(loss, ledger, notes)
        del loss
    unreached = tuple(name for name, each in model.named_parameters() if each.requires_grad and each.grad is None)
    for parameter in model.parameters():
        parameter.grad = None
    flops: dict[str, int] = {}
    for (part, _), number in ledger.flops.items():
        flops[part] = flops.get(part, 0) + number
    moments = ledger.moments
    shapes = {part: max(several, key=lambda each: numbers(each[1])) for part, several in passes.items()}
    sizes = rows, bytes_of(given), moments, Peaks.of(moments)
    return Trace(*sizes, shapes, emitted(passes), flops, unreached, tuple(notes), tuple(refused))


def emitted(passes: Mapping[str, list[tuple[Shapes, Shapes]]]) -> dict[str, int]:
    """The most positions that each encoder makes."""
    return {
        part.removeprefix("encoders."): max(outputs["values"][1] for _, outputs in several)
        for part, several in passes.items()
        if part.startswith("encoders.") and all("values" in outputs for _, outputs in several)
    }


def forward(model: A2AModel, batch: Batch, plan: Plan, device: str) -> Tensor:
    """The loss, as trainers add it up."""
    kind = DTYPES.get(plan.precision)
    with nullcontext() if kind is None else torch.autocast(device, kind):
        output: Output = model(batch["inputs"], batch["targets"], tuple(model.losses))
    loss = output.anchor
    for total in output.totals.values():
        loss = loss + total.float()
    return loss


def backward(loss: Tensor, ledger: Ledger, notes: list[str]) -> None:
    """Gradients; a part whose backward cannot be traced is a note."""
    if not loss.requires_grad:
        return
    ledger.backward = True
    try:
        torch.autograd.backward(loss)
    except Exception as error:  # whatever a stranger's operation raises
        notes.append(f"backward cannot be traced ({reason(error)}): activations are those of the forward pass")


@contextmanager
def watched(model: A2AModel, ledger: Ledger, passes: dict[str, list[tuple[Shapes, Shapes]]]) -> Iterator[None]:
    """While each part runs, forward or backward, its name stands in the ledger; the shapes of its passes are kept."""
    with ExitStack() as stack:
        for part in parts_of(model):
            stack.callback(part.module.register_forward_pre_hook(entering(part, ledger)).remove)
            stack.callback(part.module.register_forward_hook(leaving(part, ledger, passes), with_kwargs=True).remove)
        for parameter in model.parameters():
            if parameter.requires_grad:
                stack.callback(parameter.register_post_accumulate_grad_hook(ledger.accumulated).remove)
        yield


def entering(part: Part, ledger: Ledger) -> Callable[..., None]:
    """A hook for before a part's forward."""

    def hook(*_: Any) -> None:
        ledger.part = part.path

    return hook


def leaving(part: Part, ledger: Ledger, passes: dict[str, list[tuple[Shapes, Shapes]]]) -> Callable[..., None]:
    """A hook for after a part's forward; backward enters a part where its outputs get their gradients."""

    def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        ledger.part = ""
        told = args if part.path.startswith("losses.") else args[:1]  # not the batch that fusion and heads get, too
        given = [shapes_of(each) for each in (kwargs, *told)]
        goes_in = {name: shape for each in given for name, shape in each.items()}
        passes.setdefault(part.path, []).append((goes_in, shapes_of(output)))
        for tensor in tensors(output):
            if tensor.requires_grad:
                tensor.register_hook(lambda _: setattr(ledger, "part", part.path))

    return hook


def numbers(shapes: Shapes) -> int:
    """How many numbers there are in all."""
    return sum(math.prod(shape) for shape in shapes.values())


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of nested dicts, tuples and lists."""
    yield from (tensor for _, tensor in named(value))


def named(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested containers, each by its last name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from named(item, str(key))
    elif isinstance(value, Tokens):
        yield from ((name or "values", value.values), (f"{name or 'values'} mask", value.mask))
    elif hasattr(value, "_asdict"):
        yield from named(value._asdict(), name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from named(item, name)


def shapes_of(value: Any) -> Shapes:
    """Shapes by name; masks go without saying."""
    shown = value._replace(parts={}, encoded={}) if isinstance(value, Fused) else value  # those went in
    return {name: tuple(tensor.shape) for name, tensor in named(shown) if not name.endswith("mask")}
