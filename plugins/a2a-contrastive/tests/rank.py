"""One rank of `test_ranks`: loss and gradients of its part of some batches, behind DistributedDataParallel, to a file."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from a2a_contrastive.align import AlignHead
from a2a_contrastive.contrastive import ContrastiveLoss
from a2a_core.builtin.pad import PadCollator
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.testing.reference import ReferenceEncoder, ReferenceFusion, sample

NAMES = ("image", "sound")


def main(out: Path, store: str, rank: int, world: int, cases: list[list[list[int]]]) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found = [step(cuts[rank], world) for cuts in cases]
    if rank == 0:
        out.write_text(json.dumps(found))
    if world > 1:
        dist.destroy_process_group()


def step(chosen: list[int], world: int) -> dict[str, Any]:
    """As a trainer does it: each term scaled by world / its count over all ranks, gradients averaged over ranks."""
    torch.manual_seed(3)
    encoders = {name: ReferenceEncoder(width=8) for name in NAMES}
    heads = {"pair": AlignHead(modalities=NAMES, projection_dim=4)}
    losses = {"pair": ContrastiveLoss(head="pair", temperature=0.2)}
    model = A2AModel.from_parts(Parts(encoders=encoders, fusion=ReferenceFusion(), heads=heads, losses=losses)).train()
    model.fusion.requires_grad_(False)  # nothing here reads what it makes
    batch = collated(encoders["image"].processor(), chosen)
    count = torch.tensor(model.counts(batch)["pair/contrastive"])
    if world > 1:
        dist.all_reduce(count)
    wrapped = DistributedDataParallel(model) if world > 1 else model
    output = wrapped(batch["inputs"], {}, ["pair"])
    total = output.totals["pair/contrastive"]
    (world * total / count + output.anchor).backward()
    whole = total.detach().clone()
    if world > 1:
        dist.all_reduce(whole)
    gradients = {name: each.grad.flatten().tolist() for name, each in model.named_parameters() if each.requires_grad}
    return {"loss": (whole / count).item(), "count": count.item(), "gradients": gradients}


def collated(processor: Any, chosen: list[int]) -> Any:
    """Some of twelve samples; a third of them lack a sound, one a picture."""
    generator = torch.Generator().manual_seed(5)
    samples = []
    for index in range(12):
        raw = {name: torch.randn(1 + index % 3, generator=generator).tolist() for name in NAMES}
        absent = {"sound"} if index % 3 == 2 else {"image"} if index == 0 else set()
        items = {name: [] if name in absent else [processor(values)] for name, values in raw.items()}
        if index in chosen:
            samples.append(sample(index, items))
    return PadCollator().build(dict.fromkeys(NAMES, processor), {}, {})(samples)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), json.loads(sys.argv[5]))
