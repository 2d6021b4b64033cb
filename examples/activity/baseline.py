"""What the recipe has to beat: always the same activity, and logistic regression on simple features of each segment.

    python baseline.py [--data FOLDER]

Needs scikit-learn. How strongly the regression is regularised is chosen on the training rows, leaving out one video at a time.
Prints how many validation segments are right, as labelled, and when it only counts whether a label begins with `Fall`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from a2a_audio.reading import read_sound
from a2a_core import Segment
from a2a_video.sampling import Sampling, sampled

DATA = Path(__file__).parents[3] / "shared" / "data" / "fall_video"
FRAMES = Sampling("uniform", num_frames=16)
RATE = 16000
WINDOW = 800
"""Samples of 50 ms."""
STRENGTHS = {"logisticregression__C": [0.001, 0.01, 0.1, 1.0, 10.0, 100.0]}


class Split(NamedTuple):
    """The labelled segments of a manifest."""

    segments: list[Segment]
    labels: list[str]
    videos: list[str]


def read(path: Path) -> Split:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [(row["video"], each) for row in rows for each in row["segments"]]
    segments = [Segment(path.parent / video, each["start"], each["end"]) for video, each in found]
    return Split(segments, [each["label"] for _, each in found], [video for video, _ in found])


def picture_features(segment: Segment) -> np.ndarray:
    """Of grey levels, and of what changes between frames, in each ninth of the picture: the mean, and how it varies in time."""
    frames = np.stack([frame.pixels.mean(2) for frame in sampled(segment, FRAMES)]) / 255
    changes = np.abs(np.diff(frames, axis=0))
    found = [changes.mean((1, 2)).max()]
    for values in (frames, changes):
        ninths = [part for band in np.array_split(values, 3, axis=1) for part in np.array_split(band, 3, axis=2)]
        found += [part.mean() for part in ninths] + [part.mean((1, 2)).std() for part in ninths]
    return np.array(found)


def sound_features(segment: Segment) -> np.ndarray:
    """Mean, deviation and maximum of the log energy of windows of 50 ms, and how long the segment is."""
    samples = read_sound(segment, RATE)[0]
    windows = samples[: len(samples) // WINDOW * WINDOW].reshape(-1, WINDOW)
    energy = np.log10((windows**2).mean(1) + 1e-8)
    return np.array([energy.mean(), energy.std(), energy.max(), len(samples) / RATE])


def features(split: Split) -> dict[str, np.ndarray]:
    pictures = np.stack([picture_features(segment) for segment in split.segments])
    sounds = np.stack([sound_features(segment) for segment in split.segments])
    return {"both": np.concatenate([pictures, sounds], 1), "pictures": pictures, "sound": sounds}


def score(name: str, answers: list[str], labels: list[str]) -> None:
    right = sum(answer == label for answer, label in zip(answers, labels, strict=True))
    falls = sum(answer.startswith("Fall") == label.startswith("Fall") for answer, label in zip(answers, labels, strict=True))
    print(f"{name:32} {right} of {len(labels)} right, {falls} as a fall or none")


def main(data: Path) -> None:
    train, validation = (read(data / f"{split}.jsonl") for split in ("train", "validation"))
    counts = Counter(train.labels)
    print(f"{len(train.labels)} training and {len(validation.labels)} validation segments of {len(counts)} activities")
    for label in sorted(label for label, count in counts.items() if count == max(counts.values())):
        score(f"always `{label}`", [label] * len(validation.labels), validation.labels)
    inputs, others = features(train), features(validation)
    for name in inputs:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=10000))
        search = GridSearchCV(model, STRENGTHS, cv=LeaveOneGroupOut()).fit(inputs[name], train.labels, groups=train.videos)
        score(f"logistic regression on {name}", search.predict(others[name]).tolist(), validation.labels)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    main(parser.parse_args().data)
