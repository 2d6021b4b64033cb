"""Claim: Whisper's log-mel input at least 12 times as fast as transformers' WhisperFeatureExtractor, the same within 1e-5.

    python benchmarks/log_mel.py

Both make 80 x 3000 features of 5 s of 16 kHz sound, in one thread, taking turns over the same sounds; ratios are of
medians. The sound is generated, and real speech where `../shared/data/read_speech` is there. Exit
code 1 where the claim does not hold.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import WhisperFeatureExtractor

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_audio.reading import read_sound

RATE, SECONDS, ROUNDS, IN_A_ROW = 16000, 5, 12, 24
RATIO, DIFFERENCE = 12.0, 1e-5
SPEECH = Path(__file__).parents[2] / "shared" / "data" / "read_speech"

Sound = NDArray[np.float32]
Work = Callable[[Sound], NDArray[np.float32]]


def generated() -> list[Sound]:
    """Noise, tones in noise, a chirp that fades, clicks in silence; 5 s each."""
    random = np.random.default_rng(0)
    time_axis = np.arange(SECONDS * RATE) / RATE
    noise = 0.1 * random.standard_normal(len(time_axis))
    tones = sum(0.1 * np.sin(2 * np.pi * pitch * time_axis) for pitch in (220, 443, 1730, 5100))
    chirp = np.exp(-time_axis) * np.sin(2 * np.pi * (200 + 500 * time_axis) * time_axis)
    clicks = (random.random(len(time_axis)) < 1e-3).astype(np.float64)
    return [sound.astype(np.float32) for sound in (noise, tones + 0.01 * noise, chirp + 1e-3 * noise, clicks)]


def speech() -> list[Sound]:
    """Real speech, as long as it is."""
    rows = (SPEECH / "validation.jsonl").read_text(encoding="utf-8").splitlines()
    return [read_sound(SPEECH / json.loads(row)["audio"], RATE)[0] for row in rows]


def five_seconds(sounds: Sequence[Sound]) -> list[Sound]:
    """Each cut, or repeated, to 5 s."""
    return [np.resize(sound, SECONDS * RATE) for sound in sounds]


def milliseconds(works: Sequence[Work], sounds: Sequence[Sound]) -> list[float]:
    """Median time of each for one sound; they take turns, so that a busy machine slows all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            for sound in islice(cycle(sounds), IN_A_ROW):
                start = time.perf_counter()
                work(sound)
                taken.append(1000 * (time.perf_counter() - start))
    return [median(each) for each in times]


def main() -> int:
    """Print the ratio and the difference for each kind of sound."""
    torch.set_num_threads(1)
    extractor = WhisperFeatureExtractor()
    processor: Any = HfAudioEncoder(config={"model_type": "whisper"}).processor()

    def stock(sound: Sound) -> NDArray[np.float32]:
        features: NDArray[np.float32] = extractor(sound, sampling_rate=RATE, return_tensors="np")["input_features"][0]
        return features

    def ours(sound: Sound) -> NDArray[np.float32]:
        features: NDArray[np.float32] = processor.pad([processor((sound, RATE))])["input_features"][0].numpy()
        return features

    def item(sound: Sound) -> NDArray[np.float32]:
        features: NDArray[np.float32] = processor((sound, RATE)).tensors["input_features"].numpy()
        return features

    holds = True
    for name, sounds in {"generated": generated(), **({"speech": speech()} if SPEECH.is_dir() else {})}.items():
        difference = max(float(np.abs(stock(sound) - ours(sound)).max()) for sound in sounds)
        slow, fast, real = milliseconds([stock, ours, item], five_seconds(sounds))
        print(
            f"{name:>9}: transformers {slow:.2f} ms, a2a {fast:.2f} ms, ratio {slow / fast:.1f} (at least {RATIO:g}); "
            f"without padding {real:.2f} ms, ratio {slow / real:.1f}; difference {difference:.1e} (at most {DIFFERENCE:g})"
        )
        holds = holds and slow / fast >= RATIO and difference <= DIFFERENCE
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
