"""What the recipe has to beat: the most frequent class, and logistic regression on simple features of each sound.

    python baseline.py [--data FOLDER]

Needs scikit-learn. The features of the voice are mean and deviation of each of 64 log-mels, those that the recipe's
encoder starts from.
Prints the share of right answers on the validation rows.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from a2a_audio.log_mel import LogMelEncoder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ravdess_mini"


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    """Features (rows, 128) and labels of a manifest."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    processor = LogMelEncoder(sample_rate=16000, num_mels=64, normalize="fixed").processor()
    frames = [processor(path.parent / row["audio"]).tensors["features"].numpy() for row in rows]
    return np.stack([np.concatenate([each.mean(0), each.std(0)]) for each in frames]), [row["label"] for row in rows]


def main(data: Path) -> None:
    (inputs, labels), (others, wanted) = (read(data / f"{split}.jsonl") for split in ("train", "validation"))
    frequent, _ = Counter(labels).most_common(1)[0]
    print(f"{len(labels)} training and {len(wanted)} validation rows of {len(set(labels))} classes")
    print(f"always {frequent!r}: {wanted.count(frequent)} of {len(wanted)}")
    for strength in (0.01, 0.1, 1.0, 10.0):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=5000)).fit(inputs, labels)
        print(f"logistic regression, C = {strength}: {round(model.score(others, wanted) * len(wanted))} of {len(wanted)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    main(parser.parse_args().data)
