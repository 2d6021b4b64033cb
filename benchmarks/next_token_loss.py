"""The loss `next-token` against plain cross-entropy of all logits: peak memory and time, forward and backward.

2048 supervised tokens of a model with hidden size 256 and a vocabulary of 150 000, float32. Plain is `hidden @ weight.T` and
`torch.nn.functional.cross_entropy`. Peak memory is the growth of the resident set (VmHWM) of a process of its own over what it
holds before: the gradients of both are part of it. On a GPU, where there is one, torch's own peak, in bfloat16 under autocast
with 8192 tokens and hidden size 2048. Targets: at most an eighth of the memory, and 1.1x the time.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from a2a_llm.next_token_model import NextTokens

VOCABULARY, ROUNDS = 150_000, 3
MEMORY, TIME = 1 / 8, 1.1


def resident(key: str) -> int:
    """Bytes of this process, by /proc."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def work(kind: str, cuda: bool) -> dict[str, float]:
    """One way, several times: its peak, its fastest time, and the loss."""
    torch.manual_seed(0)
    device = "cuda" if cuda else "cpu"
    tokens, width = (8192, 2048) if cuda else (2048, 256)
    layer = nn.Linear(width, VOCABULARY, bias=False, device=device)
    hidden = torch.randn(tokens, width, device=device, requires_grad=True)
    labels = torch.randint(VOCABULARY, (tokens,), device=device)
    weights = torch.ones(tokens, device=device)
    loss = NextTokens(0.0, 0.0)

    def once() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=cuda):
            if kind == "plain":
                total = functional.cross_entropy(layer(hidden).float(), labels, reduction="sum")
            else:
                total = loss({"hidden": hidden, "unembed": layer}, {"labels": labels, "weights": weights})["next_token"]
        total.backward()
        return total.detach()

    layer.weight.grad, hidden.grad = torch.zeros_like(layer.weight), torch.zeros_like(hidden)  # as in any step but the first
    if cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter() if cuda else time.process_time()
        total = float(once())
        took.append((time.perf_counter() if cuda else time.process_time()) - began)
    peak = torch.cuda.max_memory_allocated() if cuda else resident("VmHWM")
    return {"peak": peak - before, "time": min(took), "loss": total / tokens}


def main() -> int:
    """Print both and their ratios; 1 if a target is missed."""
    missed = 0
    for cuda in (False, True) if torch.cuda.is_available() else (False,):
        found = {}
        for kind in ("plain", "chunks"):
            command = [sys.executable, __file__, kind, str(int(cuda))]
            found[kind] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(
                f"{'GPU' if cuda else 'CPU'} {kind:7} {found[kind]['peak'] / 2**20:8.0f} MiB "
                f"{found[kind]['time']:7.2f} s  loss {found[kind]['loss']:.4f}"
            )
        memory, slower = (found["chunks"][key] / found["plain"][key] for key in ("peak", "time"))
        print(f"memory {memory:.3f} (target {MEMORY:.3f}), time {slower:.2f} (target {TIME})")
        missed += memory > MEMORY or slower > TIME
    return int(missed > 0)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(work(sys.argv[1], sys.argv[2] == "1")))
        sys.exit()
    sys.exit(main())
