"""A step by the gradient cache and the same step with all activations kept; as a script, one rank of several."""

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import toy
from accelerate import Accelerator
from torch import Tensor, nn

from a2a_core import EncoderConfig
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import Collate, target_processors
from a2a_core.gathering import one_behind_the_other
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.structures import Batch, Sample
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, ReferenceHead, sample
from a2a_hf.chunks import Chunks
from a2a_hf.gradient_cache import GradientCache, counts

DROPPED = {name: toy.DroppedEncoder(width=8) for name in ("left", "right")}
PLAIN = {name: ReferenceEncoder(width=8) for name in ("left", "right")}
CUTS = ([[3], [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]], [[0, 1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11]])
"""Rows of each rank; at first one of them has a single chunk."""


class Stepped(NamedTuple):
    """A step's loss, over all ranks, and every gradient."""

    loss: float
    gradients: dict[str, Tensor]


def parts(encoders: Mapping[str, EncoderConfig]) -> Parts:
    """A loss over the step and one by sample on one head, another by sample on another."""
    heads = {"number": ReferenceHead(), "other": ReferenceHead(field="other")}
    losses = {
        "told": toy.WindowLoss(head="number", weight=0.5),
        "fit": toy.ToyLoss(head="number"),
        "more": toy.ToyLoss(head="other", weight=2.0),
    }
    return Parts(encoders=dict(encoders), fusion=ReferenceFusion(), heads=heads, losses=losses)


def built(encoders: Mapping[str, EncoderConfig], dtype: torch.dtype = torch.float64) -> A2AModel:
    """The same weights each time."""
    torch.manual_seed(3)
    return A2AModel.from_parts(parts(encoders)).to(dtype).train()


def samples(chosen: Sequence[int]) -> list[Sample]:
    """Some of twelve; a third of them lack one modality, some a label."""
    generator = torch.Generator().manual_seed(5)
    processor, found = ReferenceEncoder().processor(), []
    for index in range(12):
        raw = {name: torch.randn(1 + (5 * index) % 7, generator=generator).tolist() for name in ("left", "right")}
        absent = {"right"} if index % 3 == 2 else {"left"} if index == 0 else set()
        items = {name: [] if name in absent else [processor(values)] for name, values in raw.items()}
        targets = {"number": None if index == 4 else sum(raw["left"]), "other": None if index % 2 else sum(raw["right"])}
        found.append(sample(index, items, targets))
    return [found[index] for index in chosen]


def chunks(model: A2AModel, several: Sequence[Sample], rows: int, tokens: int = 0) -> list[Batch]:
    """A share of a step."""
    processors = {key: each.processor() for key, each in model.parts.encoders.items()}
    collate = Collate(PadCollator().build(processors, target_processors(model.parts), {}))
    found: list[Batch] = Chunks(collate, rows, tokens)(several)["chunks"]
    dtype = next(model.parameters()).dtype
    return [wide(chunk, dtype) for chunk in found]


def wide(value: Any, dtype: torch.dtype) -> Any:
    """Numbers in the model's precision."""
    if isinstance(value, dict):
        return {key: wide(each, dtype) for key, each in value.items()}
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value


def over_ranks(values: Tensor) -> Tensor:
    """The sum."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def scales(model: A2AModel, share: Sequence[Batch]) -> dict[str, float]:
    """As the trainer has them."""
    counted = counts(model, share)
    sums = over_ranks(torch.tensor(list(counted.values()), dtype=torch.float64)).tolist()
    world = dist.get_world_size() if dist.is_initialized() else 1
    return {name: world / count if count else 0.0 for name, count in zip(counted, sums, strict=True)}


def stepped(model: A2AModel, shares: Mapping[str, Tensor]) -> Stepped:
    """What the step left, over all ranks."""
    weights = model.weights()
    loss = over_ranks(sum(weights[name] * share.detach().double() for name, share in shares.items()))  # type: ignore[arg-type]
    world = dist.get_world_size() if dist.is_initialized() else 1
    gradients = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad()
    return Stepped(float(loss) / world, gradients)


def cached(model: A2AModel, share: Sequence[Batch], accelerator: Accelerator, wrapped: nn.Module, seed: int = 11) -> Stepped:
    """By the gradient cache."""
    torch.manual_seed(seed)
    return stepped(model, GradientCache(model, accelerator).step(wrapped, share, scales(model, share)))


def uncached(model: A2AModel, share: Sequence[Batch], seed: int = 11) -> Stepped:
    """All chunks with their activations, all losses, one backward pass; gradients are averaged over ranks by hand."""
    torch.manual_seed(seed)
    given, losses = scales(model, share), model.parts.losses
    by_sample = [key for key, loss in losses.items() if loss.scope == "sample"]
    over_step = [key for key, loss in losses.items() if loss.scope == "window"]
    outputs = [model(chunk["inputs"], chunk["targets"], by_sample) for chunk in share]
    together = {key: one_behind_the_other([output.outputs[key] for output in outputs]) for key in model.parts.heads}
    targets = {key: one_behind_the_other([chunk["targets"][key] for chunk in share]) for key in share[0]["targets"]}
    totals = [model.totals(together, targets, over_step), *(output.totals for output in outputs)]
    shares = {name: sum(each[name] for each in totals if name in each) * scale for name, scale in given.items()}
    weights = model.weights()
    (sum(weights[name] * each for name, each in shares.items()) + sum(output.anchor for output in outputs)).backward()
    for parameter in model.parameters():
        if dist.is_initialized() and parameter.grad is not None:
            over_ranks(parameter.grad).div_(dist.get_world_size())
    return stepped(model, shares)


def difference(one: Stepped, other: Stepped) -> float:
    """The largest, of losses and gradients."""
    assert one.gradients.keys() == other.gradients.keys()
    apart = [float((value - other.gradients[name]).abs().max()) for name, value in one.gradients.items()]
    return max(abs(one.loss - other.loss), *apart)


def main(out: Path, store: str, rank: int, world: int) -> None:
    """Two steps of each cut, since buckets of gradients are made anew after the first; and one without dropout.

    The model has a buffer, which the first rank sends to the others before each step.
    """
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    accelerator = Accelerator(cpu=True)
    found: dict[str, Any] = {"distributed": str(accelerator.distributed_type), "apart": []}
    model = built(DROPPED)
    model.register_buffer("sent", torch.zeros(1))
    wrapped = accelerator.prepare_model(model)
    for cut in CUTS:
        share = chunks(model, samples(cut[rank]), rows=3)
        for step in range(2):
            seed = random.Random(100 * rank + step).randrange(1 << 30)
            found["apart"].append(difference(cached(model, share, accelerator, wrapped, seed), uncached(model, share, seed)))
    model = built(PLAIN)
    one = cached(model, chunks(model, samples(CUTS[0][rank]), rows=3), accelerator, accelerator.prepare_model(model))
    found["loss"], found["gradients"] = one.loss, {name: each.tolist() for name, each in one.gradients.items()}
    out.with_suffix(f".{rank}").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
