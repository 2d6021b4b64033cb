"""The module of the loss `next-token`: forward and backward through the output layer at once, chunk by chunk."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from a2a_llm.chunks import chunks, linear, reckon
from a2a_llm.documents import disable


class Formula(NamedTuple):
    """The loss of a place, but for its weight."""

    smoothing: float
    z_loss: float

    def total(self, logits: Tensor, labels: Tensor, weights: Tensor, gradient: bool) -> Tensor:
        """The weighted sum over places; where a `gradient` is wanted, `logits` (S, V) become it."""
        normaliser = logits.logsumexp(1, keepdim=True)
        chosen = logits.gather(1, labels[:, None])
        each = (1 - self.smoothing) * (normaliser - chosen)
        if self.smoothing:
            each = each + self.smoothing * (normaliser - logits.mean(1, keepdim=True))
        if self.z_loss:
            each = each + self.z_loss * normaliser.square()
        weights = weights[:, None].to(logits.dtype)
        if gradient:
            scale = weights * (1 + 2 * self.z_loss * normaliser) if self.z_loss else weights
            logits.sub_(normaliser).exp_().mul_(scale)
            if self.smoothing:
                logits.sub_(weights * (self.smoothing / logits.shape[1]))
            logits.scatter_add_(1, labels[:, None], weights * (self.smoothing - 1))
        return (each * weights).sum()


class NextTokens(nn.Module):
    """See NextToken."""

    def __init__(self, smoothing: float, z_loss: float) -> None:
        super().__init__()
        self.formula = Formula(smoothing, z_loss)

    def count(self, inputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, float]:
        """The sum of the weights of supervised places."""
        return {"next_token": float(targets["weights"].double().sum()) if "weights" in targets else 0.0}

    @disable
    def forward(self, outputs: Mapping[str, Any], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`hidden` (S, C), `unembed`; `labels` (S,), `weights` (S,)."""
        hidden, unembed = outputs["hidden"], outputs["unembed"]
        if "labels" not in targets:
            return {"next_token": hidden[:0].float().sum()}
        labels, weights = targets["labels"], targets["weights"]
        if not torch.is_grad_enabled() and "nll" in outputs and self.formula == Formula(0.0, 0.0):
            return {"next_token": (outputs["nll"] * weights).sum()}  # in evaluation the head has judged every place
        parameters = [each for each in unembed.parameters() if each.requires_grad]
        chunked: Any = Chunked
        return {
            "next_token": chunked.apply(self.formula, torch.is_grad_enabled(), unembed, hidden, labels, weights, *parameters)
        }


class Chunked(torch.autograd.Function):
    """The sum over places, with the gradients of hidden states and of the output layer's parameters made on the way.

    Autograd would keep every chunk's logits until it goes back, or make them a second time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        formula: Formula,
        learning: bool,
        unembed: Any,
        hidden: Tensor,
        labels: Tensor,
        weights: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        """The total; where it is learned from, gradients are kept for `backward`."""
        wanted = learning and ctx.needs_input_grad[3], learning and any(ctx.needs_input_grad[6:])
        total = hidden.new_zeros((), dtype=exact(hidden))
        gradients: list[Tensor] = [torch.empty_like(hidden)] if wanted[0] else []
        layer = linear(unembed)
        sums = [torch.zeros_like(each) for each in parameters] if wanted[1] else []
        with wide(hidden):
            for rows in chunks(unembed, hidden):
                states = hidden[rows].detach()
                states = states.float() if states.dtype == torch.float16 else states
                if layer is not None or not any(wanted):
                    logits = unembed(states).to(total.dtype)
                    total += formula.total(logits, labels[rows], weights[rows], any(wanted))
                    if any(wanted):
                        product(layer, logits, states, gradients[0][rows] if gradients else None, sums)
                    continue
                total += through(formula, unembed, states, labels[rows], weights[rows], parameters, gradients, sums, rows)
        reckon(unembed, hidden.detach(), 1 + sum(wanted))
        ctx.found, ctx.wanted = (gradients, sums), wanted
        return total

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """What was made on the way, scaled; once."""
        if ctx.found is None:
            raise RuntimeError("the gradient of `next-token` is made once: a graph cannot be gone back through a second time")
        (states, sums), (hidden, layer) = ctx.found, ctx.wanted
        ctx.found = None
        own = [each.mul_(gradient.to(each.dtype)) for each in sums] if layer else [None] * (len(ctx.needs_input_grad) - 6)
        return None, None, None, states[0].mul_(gradient.to(states[0].dtype)) if hidden else None, None, None, *own


def wide(hidden: Tensor) -> AbstractContextManager[Any]:
    """Without float16: its gradients of logits would vanish or overflow before the loss is scaled."""
    device = hidden.device.type
    half = not hidden.is_meta and torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return torch.autocast(device, enabled=False) if half else nullcontext()


def exact(states: Tensor) -> torch.dtype:
    """What is computed in: float32, whatever the model's arithmetic; float64 stays."""
    return torch.float64 if states.dtype == torch.float64 else torch.float32


def product(layer: Any, logits: Tensor, states: Tensor, hidden: Tensor | None, sums: list[Tensor]) -> None:
    """The gradients of a linear layer without bias, given that of its logits, added up in place."""
    device = states.device.type
    halved = not states.is_meta and torch.is_autocast_enabled(device)
    kind = torch.get_autocast_dtype(device) if halved else states.dtype
    given = logits.to(kind)
    with torch.autocast(device, enabled=False):
        if hidden is not None:
            hidden.copy_(given @ layer.weight.to(kind))
        for weight in sums:
            if weight.dtype == kind:
                torch.addmm(weight, given.T, states.to(kind), out=weight)
            else:
                weight.add_(given.T @ states.to(kind))


def through(
    formula: Formula,
    unembed: Any,
    states: Tensor,
    labels: Tensor,
    weights: Tensor,
    parameters: tuple[Tensor, ...],
    gradients: list[Tensor],
    sums: list[Tensor],
    rows: slice,
) -> Tensor:
    """As `product`, for whatever else makes logits: autograd goes back through one chunk at a time."""
    with torch.enable_grad():
        states.requires_grad_(bool(gradients))
        logits = unembed(states)
        given = logits.detach().to(exact(states), copy=True)
        total = formula.total(given, labels, weights, True)
        asked = [states] * bool(gradients) + list(parameters if sums else ())
        found = list(torch.autograd.grad(logits, asked, given.to(logits.dtype)))
    if gradients:
        gradients[0][rows] = found.pop(0)
    for whole, part in zip(sums, found, strict=True):
        whole.add_(part)
    return total
