"""Exact search in blocks against one torch matmul and top-k: 1,000 queries, 1,000,000 vectors of 384 numbers, one thread.

The peer multiplies all queries with all documents and takes the k best of each row; its scores alone are 4 GB. Both are timed
in turns, by processor time, and the fastest of each counts. Target: at most 1.1x the time, for k = 10 and k = 100, from memory
and from a memory-mapped file. Figures of float16 and int8 documents, which are converted block by block, and the peak memory of
either are printed besides.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from a2a_retrieval.exact import top

QUERIES, DOCUMENTS, WIDTH, ROUNDS, TARGET = 1000, 1_000_000, 384, 2, 1.1


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Random queries and documents, the same each time."""
    torch.manual_seed(0)
    return torch.randn(QUERIES, WIDTH), torch.randn(DOCUMENTS, WIDTH)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it finds, and the seconds of this process."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def peak(kind: str) -> float:
    """GiB above the vectors that one way holds, in a process of its own."""
    found = subprocess.run([sys.executable, __file__, kind], check=True, capture_output=True, text=True)
    return float(found.stdout)


def resident(key: str) -> int:
    """KiB of this process, by /proc."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1])


def held(kind: str) -> float:
    """By how much one search makes this process's resident set grow at most."""
    queries, documents = drawn()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    if kind == "plain":
        (queries @ documents.T).topk(10)
    else:
        top(queries, documents, 10)
    return (resident("VmHWM") - before) / 2**20


def main() -> int:
    """Print all and their ratios; 1 if the target is missed."""
    queries, documents = drawn()
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.npy"
        np.save(path, documents.numpy())
        kinds = {"float32": documents, "float32, memory-mapped": np.load(path, mmap_mode="r")}
        smaller = {"float16": documents.half(), "int8": (documents * 25).clamp(-127, 127).to(torch.int8)}
        for k in (10, 100):
            took: dict[str, list[float]] = {}
            for _ in range(ROUNDS):
                wanted, seconds = timed(lambda k=k: (queries @ documents.T).topk(k))
                took.setdefault("matmul + topk", []).append(seconds)
                for name, kind in kinds.items():
                    found, seconds = timed(lambda k=k, kind=kind: top(queries, kind, k))
                    took.setdefault(name, []).append(seconds)
                    torch.testing.assert_close(found.scores, wanted.values)
            if k == 10:
                took |= {name: [timed(lambda kind=kind: top(queries, kind, 10))[1]] for name, kind in smaller.items()}
            fastest = {name: min(seconds) for name, seconds in took.items()}
            for name, seconds in fastest.items():
                ratio = seconds / fastest["matmul + topk"]
                print(f"k = {k:3}  {name:24} {seconds:6.1f} s  {ratio:.2f}x", flush=True)
                missed |= name in kinds and ratio > TARGET
    print(f"memory above the vectors: matmul + topk {peak('plain'):.2f} GiB, in blocks {peak('blocks'):.2f} GiB")
    return int(missed)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(held(sys.argv[1]))
        sys.exit()
    sys.exit(main())
