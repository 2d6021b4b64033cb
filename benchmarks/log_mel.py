"""Claim: Whisper's log-mel input at least 12 times as fast as transformers' WhisperFeatureExtractor, the same within 1e-5.

    python benchmarks/log_mel.py

Both make 80 x 3000 features of 5 s of 16 kHz sound in one thread, eight sounds to a batch, taking turns. The sound is
generated, and real speech where `../shared/data/read_speech` is there. Exit code 1 where the claim does not hold. Also
printed: one sound at a time, where the extractor takes 6.5 ms or up to twice that, as the allocator keeps or returns its
memory; and a2a without the silence up to 30 s.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_audio.reading import read_sound

RATE, SECONDS, BATCH, TURNS = 16000, 5, 8, 25
RATIO, DIFFERENCE = 12.0, 1e-5
SPEECH = Path(__file__).parents[2] / "shared" / "data" / "read_speech"

Sound = NDArray[np.float32]
Work = Callable[[Sequence[Sound]], Any]


def generated() -> list[Sound]:
    """Noise, tones in noise, a chirp that fades, clicks in silence, each twice; 5 s each."""
    random = np.random.default_rng(0)
    seconds = np.arange(SECONDS * RATE) / RATE
    sounds = []
    for loudness in (1.0, 0.01):
        noise = 0.1 * random.standard_normal(len(seconds))
        tones = sum(0.1 * np.sin(2 * np.pi * pitch * seconds) for pitch in (220, 443, 1730, 5100))
        chirp = np.exp(-seconds) * np.sin(2 * np.pi * (200 + 500 * seconds) * seconds)
        clicks = random.random(len(seconds)) < 1e-3
        sounds += [loudness * sound for sound in (noise, tones + 0.01 * noise, chirp + 1e-3 * noise, clicks)]
    return [sound.astype(np.float32) for sound in sounds]


def speech() -> list[Sound]:
    """Real speech, as long as it is."""
    rows = (SPEECH / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    return [read_sound(SPEECH / json.loads(row)["audio"], RATE)[0] for row in rows]


def milliseconds(works: Sequence[Work], sounds: Sequence[Sound], batch: int) -> list[float]:
    """Time of each for one sound, the median of several turns; they alternate, so that a busy machine slows all alike."""
    batches = [sounds[start : start + batch] for start in range(0, len(sounds), batch)]
    times: list[list[float]] = [[] for _ in works]
    for _ in range(TURNS):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            for each in batches:
                work(each)
            taken.append(1000 * (time.perf_counter() - start) / len(sounds))
    return [median(each) for each in times]


def main() -> int:
    """Print ratio and difference for each kind of sound."""
    torch.set_num_threads(1)
    extractor = WhisperFeatureExtractor()
    processor: Any = HfAudioEncoder(config={"model_type": "whisper"}).processor()

    def stock(sounds: Sequence[Sound]) -> Any:
        return extractor(list(sounds), sampling_rate=RATE, return_tensors="pt")["input_features"]

    def items(sounds: Sequence[Sound]) -> Any:
        return [processor((sound, RATE)) for sound in sounds]

    def ours(sounds: Sequence[Sound]) -> Any:
        return processor.pad(items(sounds))["input_features"]

    holds = True
    for name, sounds in {"generated": generated(), **({"speech": speech()} if SPEECH.is_dir() else {})}.items():
        difference = float((stock(sounds) - ours(sounds)).abs().max())
        equal = [np.resize(sound, SECONDS * RATE) for sound in sounds[:BATCH]]
        slow, fast = milliseconds([stock, ours], equal, BATCH)
        print(f"{name}: transformers {slow:.2f} ms, a2a {fast:.2f} ms, ratio {slow / fast:.1f} (at least {RATIO:g})", end="; ")
        print(f"difference {difference:.1e} (at most {DIFFERENCE:g})")
        holds = holds and slow / fast >= RATIO and difference <= DIFFERENCE
        slow, fast, bare = milliseconds([stock, ours, items], equal, 1)
        print(f"  one at a time {slow:.2f} and {fast:.2f} ms, ratio {slow / fast:.1f}; without silence {bare:.2f} ms", end=", ")
        print(f"ratio {slow / bare:.1f}")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
