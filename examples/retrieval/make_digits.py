"""Pairs the pictures of digits_image_audio with recordings of their digit, and says which recordings answer them: all such.

For training each picture meets four recordings, drawn anew; for validation the rows stay as they are.

python make_digits.py [FOLDER]        # where train.jsonl and validation.jsonl lie; writes data/digits/*.jsonl
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "digits_image_audio"
OUT = Path(__file__).parent / "data" / "digits"
PAIRINGS = 4


def main(folder: Path) -> None:
    """Both splits; pictures and recordings stay where they are."""
    OUT.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        by_digit: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            row |= {"query_id": Path(row["image"]).stem, "positive_id": Path(row["audio"]).stem}
            by_digit[row["label"]].append(
                row | {medium: os.path.relpath(folder / row[medium], OUT) for medium in ("image", "audio")}
            )
        pairs = [pair for alike in by_digit.values() for pair in (paired(alike) if split == "train" else answered(alike))]
        (OUT / f"{split}.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
        print(f"wrote {OUT / split}.jsonl: {len(pairs)} pairs of {len(rows)}")


def paired(alike: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of one digit, `PAIRINGS` times, the recordings shuffled among the pictures."""
    draw = random.Random(0)
    for number in range(PAIRINGS):
        others = draw.sample(alike, len(alike))
        for row, other in zip(answered(alike), others, strict=True):
            yield row | {"id": f"{row['id']}#{number}", "audio": other["audio"], "positive_id": other["positive_id"]}


def answered(alike: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one digit, with all of its recordings."""
    return [row | {"relevant": [other["positive_id"] for other in alike]} for row in alike]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
