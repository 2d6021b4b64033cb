"""What simple means reach: the most frequent answer, and logistic regression on colours and on thumbnails.

python baseline.py [FOLDER]        # where train.jsonl and validation.jsonl lie; needs scikit-learn and Pillow
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "subject_photos"


def main(folder: Path) -> None:
    """Accuracy and macro F1 on the validation photos."""
    (train, labels), (validation, answers) = (read(folder / f"{split}.jsonl") for split in ("train", "validation"))
    features = {
        "the most frequent kind": (thumbnail, DummyClassifier()),
        "colour histogram, 4 x 4 x 4 bins": (histogram, regression()),
        "thumbnail of 8 x 8 pixels": (thumbnail, regression()),
        "thumbnail and histogram": (lambda image: np.concatenate([thumbnail(image), histogram(image)]), regression()),
    }
    for name, (feature, model) in features.items():
        model.fit(np.stack([feature(image) for image in train]), labels)
        found = model.predict(np.stack([feature(image) for image in validation]))
        f1 = f1_score(answers, found, average="macro")
        print(f"{name:36} accuracy {accuracy_score(answers, found):.2f}   macro F1 {f1:.2f}")


def regression() -> Pipeline:
    """scikit-learn's, on features of unit variance."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))


def read(path: Path) -> tuple[list[Image.Image], list[str]]:
    """Photos and labels."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Image.open(path.parent / row["image"]).convert("RGB") for row in rows], [row["label"] for row in rows]


def thumbnail(image: Image.Image) -> np.ndarray:
    """(192,): mean colours of 8 x 8 fields."""
    return np.asarray(image.resize((8, 8), Image.Resampling.BOX)).ravel() / 255


def histogram(image: Image.Image) -> np.ndarray:
    """(64,): the share of pixels of each colour."""
    bins = (np.asarray(image).reshape(-1, 3) // 64) @ (16, 4, 1)
    return np.bincount(bins, minlength=64) / len(bins)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
