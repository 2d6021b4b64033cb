"""`a2a check --deep` against what training takes: peak memory of three recipes, estimated and measured.

Measured is the peak of the resident set (VmHWM of /proc/self/status) over three steps of the real trainer in a process of its
own, less what was resident before the model was built. A tiny run of the same recipe comes first, so that imported modules,
kernels' code and threads are resident before. glibc is told to hand freed blocks back (MALLOC_MMAP_THRESHOLD_), so that the
resident set is what lives, not what once lived. On a GPU it is torch.cuda.max_memory_allocated().

Target: within 15 %.
"""

from __future__ import annotations

import gc
import json
import os
import struct
import subprocess
import sys
import tempfile
import wave
import zlib
from pathlib import Path
from typing import NamedTuple

WITHIN = 0.15
STEPS = 3
ROWS = 64
COMMON = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[heads.label]
use = "classify"
[losses.label]
use = "cross-entropy"
head = "label"
[trainer]
batch_size = 16
max_steps = 3
log_every = 1
evaluate = "no"
save = "no"
report_to = []
"""


class Case(NamedTuple):
    """A recipe, and what makes it tiny."""

    recipe: str
    tiny: tuple[str, ...]


CASES = {
    "patch + log-mel + bottleneck": Case(
        """
[encoders.image]
use = "patch"
image_size = 64
patch_size = 8
width = 384
layers = 6
num_heads = 6
[encoders.sound]
use = "log-mel"
width = 256
layers = 3
[fusion]
use = "bottleneck"
width = 384
layers = 2
""",
        ("encoders.image.width=48", "encoders.sound.width=32", "fusion.width=48"),
    ),
    "hf-vision: the ViT of CLIP": Case(
        """
[encoders.image]
use = "hf-vision"
[encoders.image.config]
model_type = "clip_vision_model"
image_size = 64
patch_size = 8
hidden_size = 512
intermediate_size = 2048
num_hidden_layers = 8
num_attention_heads = 8
[fusion]
use = "concat"
""",
        (
            "encoders.image.config.hidden_size=32",
            "encoders.image.config.intermediate_size=64",
            "encoders.image.config.num_hidden_layers=1",
        ),
    ),
    "hf-text: a frozen BERT beside a trained embedding, accumulated": Case(
        """
[encoders.text]
use = "hf-text"
freeze = true
cache = false
[encoders.text.config]
model_type = "bert"
vocab_size = 30000
hidden_size = 512
intermediate_size = 2048
num_hidden_layers = 6
num_attention_heads = 8
[encoders.words]
use = "embedding"
field = "text"
width = 512
layers = 4
num_heads = 8
[fusion]
use = "bottleneck"
layers = 2
""",
        (
            "encoders.text.config.hidden_size=32",
            "encoders.text.config.intermediate_size=64",
            "encoders.text.config.num_hidden_layers=1",
            "encoders.words.width=32",
        ),
    ),
}
SETS = {"hf-text: a frozen BERT beside a trained embedding, accumulated": ("trainer.micro_batch=8",)}


def main() -> int:
    """Print a line a recipe; 1 if one is missed."""
    missed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder)
        for title, case in CASES.items():
            path = folder / "recipe.toml"
            path.write_text(case.recipe + COMMON)
            expected = estimated(path, SETS.get(title, ()))
            found = measured(path, case.tiny, SETS.get(title, ()))
            missed |= abs(expected / found - 1) > WITHIN
            print(f"{title}: estimated {expected / 2**20:.0f} MiB, measured {found / 2**20:.0f} MiB, {expected / found:.2f}x")
    print(f"target: within {WITHIN:.0%}: {'missed' if missed else 'met'}")
    return int(missed)


def estimated(path: Path, sets: tuple[str, ...]) -> int:
    """The peak that `a2a check --deep` foresees for one device."""
    options = [word for each in sets for word in ("--set", each)]
    command = [sys.executable, "-m", "a2a_cli", "check", "--deep", str(path), "--samples", "16", "--json", *options]
    out = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout
    return next(each["peak"] for each in json.loads(out)["deep"]["memory"] if each["backend"] == "single")


def measured(path: Path, tiny: tuple[str, ...], sets: tuple[str, ...]) -> int:
    """The peak of a process of its own."""
    command = [sys.executable, __file__, "measure", str(path), json.dumps([tiny, sets])]
    out = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(out.splitlines()[-1])


def environment() -> dict[str, str]:
    """One thread, and a malloc that gives back."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def measure(path: Path, tiny: list[str], sets: list[str]) -> None:
    """Train a tiny version, then the recipe; print the bytes between."""
    import torch

    train(path, [*sets, *tiny], "tiny")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        train(path, sets, "real")
        print(torch.cuda.max_memory_allocated() - before)
        return
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before = status("VmRSS")
    print(train(path, sets, "real") - before)


def train(path: Path, sets: list[str], name: str) -> int:
    """Through the command's own code; the peak after the last step, before anything is exported."""
    from a2a_core import runs, training
    from a2a_core.recipe import load_recipe
    from a2a_core.reporter import Silent

    class Watch(Silent):
        peak = 0

        def step(self, step: int) -> None:
            self.peak = status("VmHWM")

    loaded = load_recipe(path, None, sets, (), for_run=True)
    run = runs.create(path.parent / f"{path.stem}-{name}-{os.getpid()}")
    training.start(run, loaded, path)
    watch = Watch()
    training.train(loaded, run, watch, [])
    return watch.peak


def status(key: str) -> int:
    """Bytes, from /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) * 1024


def make_data(folder: Path) -> None:
    """Pictures of 64 pixels, a second of sound, 128 letters: as many of each in every row."""
    with (folder / "train.jsonl").open("w") as file:
        for number in range(ROWS):
            (folder / f"{number}.png").write_bytes(png(64, number))
            with wave.open(str(folder / f"{number}.wav"), "wb") as sound:
                sound.setparams((1, 2, 16000, 16000, "NONE", ""))
                sound.writeframes(struct.pack("<16000h", *((i * (number + 3)) % 2000 - 1000 for i in range(16000))))
            row = {"image": f"{number}.png", "sound": f"{number}.wav", "text": chr(97 + number % 26) * 127, "label": number % 2}
            file.write(json.dumps(row) + "\n")


def png(size: int, seed: int) -> bytes:
    """A picture of one colour a line."""
    lines = b"".join(b"\0" + bytes([(seed * line) % 256, seed % 256, line % 256]) * size for line in range(size))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(Path(sys.argv[2]), *json.loads(sys.argv[3]))
    else:
        sys.exit(main())
