"""What the recipe has to beat: counting which character follows the last few.

    python baseline.py [--data FOLDER]

An n-gram model, smoothed by Witten and Bell's method (C of Moffat, 1990): with N the times that a context was seen, D the
different characters that followed it and n those times that this one did, its probability is (n + D p) / (N + D), p being the
probability by a context one character shorter; below the shortest, all 257 symbols (bytes and the end) are alike.
Prints the loss per character of the validation passages, in nats and bits, for contexts of 0 to 7 characters. It judges what
the recipe's loss judges: of each passage all but its first character, and its end.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "tinyshakespeare"
LONGEST = 7
END = 256
SYMBOLS = 257

Counts = dict[tuple[int, ...], Counter[int]]


def read(path: Path) -> list[list[int]]:
    """The passages as bytes, each with its end."""
    return [[*json.loads(line)["text"].encode(), END] for line in path.read_text(encoding="utf-8").splitlines()]


def counted(passages: list[list[int]]) -> Counts:
    """Context -> how often each symbol followed it."""
    found: Counts = defaultdict(Counter)
    for passage in passages:
        for place, symbol in enumerate(passage):
            for length in range(min(place, LONGEST) + 1):
                found[tuple(passage[place - length : place])][symbol] += 1
    return found


def losses(counts: Counts, passages: list[list[int]]) -> list[float]:
    """Mean negative log-likelihood in nats, by the length of the context."""
    sums, places = [0.0] * (LONGEST + 1), 0
    totals = {context: sum(followers.values()) for context, followers in counts.items()}
    for passage in passages:
        for place, symbol in enumerate(passage[1:], start=1):
            chance, places = 1 / SYMBOLS, places + 1
            for length in range(LONGEST + 1):
                context = tuple(passage[max(place - length, 0) : place])
                if len(context) == length and context in counts:
                    different = len(counts[context])
                    chance = (counts[context][symbol] + different * chance) / (totals[context] + different)
                sums[length] -= math.log(chance)
    return [each / places for each in sums]


def main(data: Path) -> None:
    """Print the losses."""
    train, validation = (read(data / f"{split}.jsonl") for split in ("train", "validation"))
    for length, loss in enumerate(losses(counted(train), validation)):
        print(f"{length} characters before: {loss:.3f} nats, {loss / math.log(2):.3f} bits")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    main(parser.parse_args().data)
