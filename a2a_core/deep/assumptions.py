"""What the figures take for granted: it is printed with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_core.deep.memory import BUCKET
from a2a_core.structures import Plan

if TYPE_CHECKING:
    from a2a_core.model import A2AModel

KERNELS = {
    "cpu": "kernels of the CPU, which this machine would train on; on a GPU attention with dropout keeps less",
    "cuda": "kernels of the GPU",
}


def assumptions(plan: Plan, ranks: int, device: str, samples: int, model: A2AModel) -> list[str]:
    """One line each."""
    found = [
        f"every micro-batch is like the first {samples} rows of `train`, padded to the longest of them",
        KERNELS[device],
        f"weights are float32; forward and backward in {plan.precision}"
        + ("" if plan.precision == "float32" else ", by autocast, whose copies of weights count as activations"),
        "gradient checkpointing is on" if plan.gradient_checkpointing else "gradient checkpointing is off",
    ]
    if not plan.micro_batch and plan.batch_size % ranks:
        found.append(f"{plan.batch_size} rows of a step do not divide by {ranks} ranks: each is shown with those that go round")
    if any(encoder.freeze for encoder in model.parts.encoders.values()):
        found.append("frozen encoders run each time: nothing comes from the feature cache")
    found += [
        "ddp keeps gradients a second time, in the buckets that it averages",
        f"ZeRO spreads states (1), gradients (2) and weights (3) over {ranks} ranks, with a float32 copy of each share",
        f"ZeRO reduces gradients in a bucket of at most {BUCKET // 10**6} million numbers",
        "fsdp spreads frozen weights, too (`backend.shard_frozen = true`)",
        "fsdp and ZeRO 3 gather two layers and one layer's gradients at a time; what is in no layer stays gathered with fsdp",
        "not counted: the runtime itself (CUDA: about half a GiB), the allocator's slack, kernels' own scratch memory",
    ]
    return found
