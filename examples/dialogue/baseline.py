"""What simple means reach: the most frequent answer, and logistic regression on words.

python baseline.py [FOLDER]        # where train.jsonl and validation.jsonl lie; needs scikit-learn
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "meld_text"
HEADS = {"emotion": "label", "sentiment": "sentiment"}
MARKS = r"\w+|[^\w\s]"
"""Words, and every mark by itself: `!`, `?`."""


def main(folder: Path) -> None:
    """Accuracy and macro F1 of both heads on the validation lines."""
    train, validation = (read(folder / f"{split}.jsonl") for split in ("train", "validation"))
    words, tfidf = CountVectorizer(), TfidfVectorizer()
    pairs = TfidfVectorizer(token_pattern=MARKS, ngram_range=(1, 2), sublinear_tf=True)
    models = {
        "the most frequent answer": (words, DummyClassifier()),
        "word counts": (words, LogisticRegression(max_iter=2000)),
        "tf-idf of words": (tfidf, LogisticRegression(max_iter=2000)),
        "tf-idf of words, marks and pairs": (pairs, LogisticRegression(max_iter=2000)),
        "the same, classes balanced": (pairs, LogisticRegression(max_iter=2000, class_weight="balanced")),
    }
    for name, (features, classifier) in models.items():
        print(
            f"{name:34}", *(judged(make_pipeline(features, classifier), train, validation, head) for head in HEADS), sep="   "
        )


def judged(model: object, train: list[dict[str, str]], validation: list[dict[str, str]], head: str) -> str:
    """One head's accuracy and macro F1."""
    field = HEADS[head]
    model.fit([row["text"] for row in train], [row[field] for row in train])
    found, answers = model.predict([row["text"] for row in validation]), [row[field] for row in validation]
    return f"{head} {accuracy_score(answers, found):.3f} {f1_score(answers, found, average='macro'):.3f}"


def read(path: Path) -> list[dict[str, str]]:
    """A split's rows."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
