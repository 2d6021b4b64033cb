"""A step in chunks whose losses compare all rows of it: the gradient cache (Gao and others 2021, arXiv 2101.06983, section 3).

All chunks are embedded without gradients; the losses are computed on all embeddings, and give the gradient by each of them;
then each chunk is computed again, from the same random state, and the gradient goes through it. So memory holds one chunk's
activations, and the gradient is that of one big batch. The last chunk, the longest, keeps its activations: it goes first in the
second pass, and is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from a2a_core import Batch
from a2a_core.evaluate import moved
from a2a_core.gathering import one_behind_the_other
from a2a_core.model import A2AModel
from a2a_core.ranks import together
from a2a_core.structures import Output
from a2a_hf.random_state import RandomState

Leaves = dict[str, dict[str, Tensor]]
"""What losses over the step read of one chunk, by head and name, cut off from what made it."""
Shares = dict[str, Tensor]
"""Each term's total over its count, not weighted, as far as it was added up."""


class Owed(NamedTuple):
    """The gradient of losses over the step; None by what they do not depend on."""

    cached: list[dict[tuple[str, str], Tensor | None]]
    """By each chunk's leaves, by head and name."""
    own: list[tuple[Tensor, Tensor | None]]
    """By the losses' own parameters, which stand before it."""


class GradientCache:
    """Computes the gradient of steps that come in chunks; losses over single samples ride along in the second pass."""

    def __init__(self, model: A2AModel, accelerator: Accelerator, compiled: bool = False) -> None:
        self.model, self.accelerator, self.compiled = model, accelerator, compiled
        self.weights = model.weights()
        losses = model.parts.losses
        self.over_step = [key for key, loss in losses.items() if loss.scope == "window"]
        self.by_sample = [key for key, loss in losses.items() if loss.scope != "window"]
        read = {head: None for key in self.over_step for head in (losses[key].head, *losses[key].beside().values())}
        self.heads = list(read)

    def step(self, wrapped: nn.Module, chunks: Sequence[Batch], scales: Mapping[str, float]) -> Shares:
        """Add the step's gradient to the parameters'; returns each term's share of the loss, not weighted.

        `scales` is what each term's total is multiplied by. `wrapped` is the model as data parallelism has it: gradients are
        exchanged with the last chunk that is computed, and ranks may have different numbers of chunks.
        """
        *others, kept = chunks
        states, leaves = self.embed(wrapped, others)
        shares: Shares = {}
        with self.quiet(wrapped, bool(others)):
            output = self.run(wrapped, kept, self.by_sample)
            owed = self.compare([*leaves, self.leaves(output)], chunks, scales, shares)
            after = RandomState.here(self.accelerator.device)
            self.backward(output, owed.cached[-1], scales, shares, () if others else owed.own)
        del output, leaves
        for place, (chunk, state) in enumerate(zip(others, states, strict=True)):
            last = place == len(others) - 1
            state.restore(self.accelerator.device)
            with self.quiet(wrapped, not last):
                again = self.run(wrapped, chunk, self.by_sample)
                self.backward(again, owed.cached[place], scales, shares, owed.own if last else ())
        after.restore(self.accelerator.device)
        return shares

    def quiet(self, wrapped: nn.Module, more: bool) -> AbstractContextManager[None]:
        """Ranks exchange no gradients while there is more to come."""
        return self.accelerator.no_sync(wrapped) if more else nullcontext()

    def run(self, wrapped: nn.Module, chunk: Batch, losses: Sequence[str]) -> Output:
        """One forward pass; the model sees to autocast itself."""
        chunk = moved({"inputs": chunk["inputs"], "targets": chunk["targets"]}, self.accelerator.device)
        output: Output = wrapped(chunk["inputs"], chunk["targets"], tuple(losses))
        return output

    def embed(self, wrapped: nn.Module, chunks: Sequence[Batch]) -> tuple[list[RandomState], list[Leaves]]:
        """The first pass: each chunk's random state beforehand, and what losses over the step read of it."""
        states, leaves = [], []
        # data parallelism exchanges buckets, then buffers, in a step's first pass: in this order where that has gradients
        exchanging = together()
        with statistics_kept(self.model), self.quiet(wrapped, True):
            for place, chunk in enumerate(chunks):
                states.append(RandomState.here(self.accelerator.device))
                # what is compiled draws its random numbers in another order where no gradient is wanted
                with torch.set_grad_enabled(self.compiled or (exchanging and place == 0)):
                    leaves.append(self.leaves(self.run(wrapped, chunk, self.by_sample if self.compiled else ())))
        return states, leaves

    def leaves(self, output: Output) -> Leaves:
        """A chunk's outputs for losses over the step; without gradients nobody knows which of them depend on parameters."""
        found: Leaves = {head: {} for head in self.heads}
        for head, values in found.items():
            for name, value in output.outputs[head].items():
                values[name] = value.detach().requires_grad_(value.is_floating_point())
        return found

    def compare(self, leaves: list[Leaves], chunks: Sequence[Batch], scales: Mapping[str, float], shares: Shares) -> Owed:
        """Losses over the step, on every chunk's leaves."""
        live = [(head, name) for head in self.heads for name, value in leaves[0][head].items() if value.requires_grad]
        reached = [leaf[head][name] for leaf in leaves for head, name in live]
        outputs = {head: one_behind_the_other([leaf[head] for leaf in leaves]) for head in self.heads}
        targets = moved(targets_of(chunks, self.heads), self.accelerator.device)
        with self.accelerator.autocast():
            loss = self.weighted(self.model.totals(outputs, targets, self.over_step), scales, shares)
        own: list[Tensor] = [
            each for key in self.over_step for each in self.model.losses[key].parameters() if each.requires_grad
        ]
        found = self.gradients(loss, [*own, *reached])
        starts = [len(own) + len(live) * place for place in range(len(leaves))]
        cached = [dict(zip(live, found[start:], strict=False)) for start in starts]
        return Owed(cached, list(zip(own, found, strict=False)))

    def gradients(self, loss: Tensor, inputs: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """Of the loss by each input; None where it does not depend on it. In half precision they are computed scaled."""
        if not loss.requires_grad or not inputs:
            return [None] * len(inputs)
        scaler = self.accelerator.scaler
        if scaler is None:
            return torch.autograd.grad(loss, inputs, allow_unused=True)
        found = torch.autograd.grad(scaler.scale(loss), inputs, allow_unused=True)
        return [None if each is None else each.float() / scaler.get_scale() for each in found]

    def backward(
        self,
        output: Output,
        cached: Mapping[tuple[str, str], Tensor | None],
        scales: Mapping[str, float],
        shares: Shares,
        own: Sequence[tuple[Tensor, Tensor | None]],
    ) -> None:
        """One chunk's losses by sample and, through a sum whose gradient is the cached one, those over the step."""
        loss = output.anchor + self.weighted(output.totals, scales, shares)
        given = [(output.outputs[head][name], gradient) for (head, name), gradient in cached.items()]
        for value, gradient in [*given, *own]:
            if value.requires_grad and gradient is not None:
                wide = torch.promote_types(value.dtype, torch.float32)
                loss = loss + (value.to(wide) * gradient.to(wide)).sum()
        self.accelerator.backward(loss)

    def weighted(self, totals: Mapping[str, Tensor], scales: Mapping[str, float], shares: Shares) -> Any:
        """Weight x total / count of every term; the shares, not weighted, are added to those that are there."""
        loss: Any = 0.0
        for name, total in totals.items():
            share = total.to(torch.promote_types(total.dtype, torch.float32)) * scales[name]
            shares[name] = shares[name] + share.detach() if name in shares else share.detach()
            loss = loss + self.weights[name] * share
        return loss


def targets_of(chunks: Sequence[Batch], heads: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """Targets of several chunks as one batch's."""
    there = [head for head in heads if head in chunks[0]["targets"]]
    return {head: one_behind_the_other([chunk["targets"][head] for chunk in chunks]) for head in there}


def counts(model: A2AModel, chunks: Sequence[Batch]) -> dict[str, float]:
    """What each term's total is to be divided by, over all chunks: losses over the step count them as one batch.

    That batch has the samples, and whose each item is, of every encoder, not the items themselves.
    """
    found: dict[str, float] = {}
    for key, loss in model.parts.losses.items():
        module: Any = model.losses[key]
        for batch in [as_one(chunks, loss.head)] if loss.scope == "window" and len(chunks) > 1 else chunks:
            for term, count in module.count(batch["inputs"], batch["targets"].get(loss.head, {})).items():
                found[f"{key}/{term}"] = found.get(f"{key}/{term}", 0.0) + float(count)
    return found


def as_one(chunks: Sequence[Batch], head: str) -> Batch:
    """What is counted of several chunks, as one batch."""
    starts = torch.tensor([0, *(chunk["inputs"]["size"] for chunk in chunks)]).cumsum(0).tolist()
    inputs: dict[str, Any] = {"size": starts[-1]}
    for key, first in chunks[0]["inputs"].items():
        if isinstance(first, dict) and "row" in first:
            each = [chunk["inputs"][key] for chunk in chunks]
            inputs[key] = {
                "row": torch.cat([media["row"] + start for media, start in zip(each, starts, strict=False)]),
                "slot": torch.cat([media["slot"] for media in each]),
                "slots": max(media["slots"] for media in each),
            }
    return {"inputs": inputs, "targets": targets_of(chunks, [head])}


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Running statistics of batch norms are those of the second pass alone: they count nothing twice."""
    norms = [module for module in model.modules() if isinstance(module, _NormBase) and module.training]
    before = [(buffer, buffer.clone()) for module in norms for buffer in module.buffers()]
    yield
    for buffer, value in before:
        buffer.copy_(value)
