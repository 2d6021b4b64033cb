"""Write the data of this example: handwritten digits as PNG, their telephone tones in noise as wav, and JSONL beside them.

    python make_data.py [--out data] [--seed 0]

The pictures are the 1,797 real ones of scikit-learn's `load_digits` (8 x 8, 16 grey levels). Each is paired with the tone
pair that a telephone keypad sends for its digit (DTMF, ITU-T recommendation Q.23), in so much noise that a good model
recognises about nine of ten. In a fifth of the rows one of the two is missing: its field is null.
"""

from __future__ import annotations

import argparse
import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

try:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
except ModuleNotFoundError:
    raise SystemExit("the digits are scikit-learn's: pip install scikit-learn") from None

ROWS, COLUMNS = (697.0, 770.0, 852.0, 941.0), (1209.0, 1336.0, 1477.0)
KEYPAD = ("123", "456", "789", "*0#")
TONES = {key: (ROWS[r], COLUMNS[c]) for r, line in enumerate(KEYPAD) for c, key in enumerate(line)}
"""Key -> its two frequencies, in Hz."""

RATE = 8000
SECONDS = 0.5
TONE_SECONDS = (0.15, 0.35)
SNR_DB = (-17.5, -1.5)
"""Power of the tone pair against that of the noise over all frequencies; it sets how many digits can be heard."""
LEVEL_DB = (-30.0, -20.0)
"""Power of the noise against full scale."""

MISSING = 0.2
HELD_OUT = {"validation": 0.1, "test": 0.2}


def sound_of(digit: int, random: np.random.Generator) -> np.ndarray:
    """Half a second of noise with the digit's tone pair somewhere in it, int16; onset, length, phases and levels are random."""
    time = np.arange(int(RATE * SECONDS)) / RATE
    length = random.uniform(*TONE_SECONDS)
    onset = random.uniform(0, SECONDS - length)
    sounding = (time >= onset) & (time < onset + length)
    tones = sum(np.sin(2 * np.pi * frequency * time + random.uniform(0, 2 * np.pi)) for frequency in TONES[str(digit)])
    noise = 10 ** (random.uniform(*LEVEL_DB) / 20)
    gain = noise * 10 ** (random.uniform(*SNR_DB) / 20)
    signal = noise * random.standard_normal(len(time)) + gain * tones * sounding
    return np.clip(np.round(signal * 32767), -32768, 32767).astype(np.int16)


def write_wav(path: Path, samples: np.ndarray) -> None:
    """16 bits, mono."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.astype("<i2").tobytes())


def split(labels: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Split -> the numbers of its digits, in order; every split has all digits in the same proportion."""
    rest = np.arange(len(labels))
    for name, share in HELD_OUT.items():
        count = round(share * len(labels))
        rest, taken = train_test_split(rest, test_size=count, random_state=seed, stratify=labels[rest])
        yield name, np.sort(taken)
    yield "train", np.sort(rest)


def missing(count: int, random: np.random.Generator) -> dict[int, str]:
    """Row -> the field that it lacks, for a fifth of so many rows; each field in half of them."""
    chosen = random.permutation(count)[: round(MISSING * count)]
    return {int(row): ("image", "sound")[place % 2] for place, row in enumerate(chosen)}


def write(out: Path, seed: int) -> dict[str, int]:
    """Write everything into `out`; the number of rows in each split. The same seed writes the same bytes."""
    digits = load_digits()
    for folder in ("images", "sounds"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, numbers in split(digits.target, seed):
        lacks = missing(len(numbers), np.random.default_rng([seed, len(numbers)]))
        rows = []
        for place, number in enumerate(numbers):
            row: dict[str, Any] = {
                "id": f"{number:04d}",
                "image": f"images/{number:04d}.png",
                "sound": f"sounds/{number:04d}.wav",
            }
            row["label"] = int(digits.target[number])
            if place in lacks:
                row[lacks[place]] = None
            if row["image"]:
                pixels = np.round(digits.images[number] * 255 / 16).astype(np.uint8)
                Image.fromarray(pixels).save(out / row["image"])
            if row["sound"]:
                write_wav(out / row["sound"], sound_of(row["label"], np.random.default_rng([seed, number])))
            rows.append(row)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (out / f"{name}.jsonl").write_text(text, encoding="utf-8")
        counts[name] = len(rows)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the data of the digits example.")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).parent / "data",
        help="folder to write into (default: data, beside this script)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the noise, the split and the missing fields (default: 0)")
    arguments = parser.parse_args()
    counts = write(arguments.out, arguments.seed)
    print(f"{arguments.out}: " + ", ".join(f"{count} rows in {name}.jsonl" for name, count in counts.items()))


if __name__ == "__main__":
    main()
