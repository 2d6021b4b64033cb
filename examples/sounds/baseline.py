"""What the recipe has to beat: the most frequent class, and logistic regression on simple features of each sound.

    python baseline.py [--data FOLDER]

Needs scikit-learn. The features are mean and deviation of each of 64 log-mels, those that the recipe's encoder starts from.
How strongly the regression is held back, `C`, is chosen on the training rows alone: each fold is left out once, and the
value taken that is right most often.
Prints how many answers are right on the validation rows.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from a2a_audio.log_mel import LogMelEncoder

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "esc10_mini"
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)


def read(path: Path) -> tuple[np.ndarray, list[str], list[int]]:
    """Features (rows, 128), labels and folds of a manifest."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    processor = LogMelEncoder(sample_rate=16000, num_mels=64, normalize="fixed").processor()
    frames = [processor(path.parent / row["audio"]).tensors["features"].numpy() for row in rows]
    features = np.stack([np.concatenate([each.mean(0), each.std(0)]) for each in frames])
    return features, [row["label"] for row in rows], [row["fold"] for row in rows]


def main(data: Path) -> None:
    """Print the right answers of both."""
    (inputs, labels, folds), (others, wanted, _) = (read(data / f"{split}.jsonl") for split in ("train", "validation"))
    frequent, _ = Counter(labels).most_common(1)[0]
    print(f"{len(labels)} training and {len(wanted)} validation rows of {len(set(labels))} classes")
    print(f"always {frequent!r}: {wanted.count(frequent)} of {len(wanted)}")
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    search = GridSearchCV(regression, {"logisticregression__C": STRENGTHS}, cv=LeaveOneGroupOut())
    search.fit(inputs, labels, groups=folds)
    for strength, score in zip(STRENGTHS, search.cv_results_["mean_test_score"], strict=True):
        print(f"C = {strength}: {score:.3f} of the training rows, in folds left out")
    right = round(search.score(others, wanted) * len(wanted))
    print(f"logistic regression, C = {search.best_params_['logisticregression__C']}: {right} of {len(wanted)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    main(parser.parse_args().data)
