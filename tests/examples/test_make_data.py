"""The data of examples/digits is what its script says."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import wave
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

SCRIPT = Path(__file__).parents[2] / "examples" / "digits" / "make_data.py"
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_data", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    script.write(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def rows(data: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: [json.loads(line) for line in (data / f"{name}.jsonl").read_text().splitlines()] for name in SPLITS}


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def test_every_digit_of_scikit_learn_is_in_one_split(rows: dict[str, list[dict[str, Any]]]) -> None:
    labels = load_digits().target
    assert {name: len(part) for name, part in rows.items()} == {"train": 1258, "validation": 180, "test": 359}
    everything = {row["id"]: row["label"] for part in rows.values() for row in part}
    assert everything == {f"{number:04d}": label for number, label in enumerate(labels)}


def test_splits_are_balanced(rows: dict[str, list[dict[str, Any]]]) -> None:
    whole = Counter(load_digits().target.tolist())
    for part in rows.values():
        counts = Counter(row["label"] for row in part)
        for label, count in whole.items():
            assert abs(counts[label] - count * len(part) / 1797) <= 1


def test_a_fifth_of_the_rows_lacks_one_modality_and_none_lacks_both(rows: dict[str, list[dict[str, Any]]]) -> None:
    for part in rows.values():
        for field in ("image", "sound"):
            share = sum(row[field] is None for row in part) / len(part)
            assert share == pytest.approx(0.1, abs=0.003)
        assert not any(row["image"] is None and row["sound"] is None for row in part)
        assert {tuple(row) for row in part} == {("id", "image", "sound", "label")}


def test_pictures_are_those_of_scikit_learn(data: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    images = load_digits().images
    for row in rows["validation"]:
        if row["image"] is None:
            continue
        with Image.open(data / row["image"]) as picture:
            assert (picture.size, picture.mode) == ((8, 8), "L")
            pixels = np.asarray(picture, dtype=float)
        assert np.abs(pixels * 16 / 255 - images[int(row["id"])]).max() < 0.05


def test_no_file_stands_about_that_no_row_names(data: Path, rows: dict[str, list[dict[str, Any]]]) -> None:
    named = {row[field] for part in rows.values() for row in part for field in ("image", "sound")} - {None}
    found = {path.relative_to(data).as_posix() for path in data.glob("*/*")}
    assert found == named


def test_sounds_hold_their_digits_tones_on_average(
    data: Path, rows: dict[str, list[dict[str, Any]]], script: ModuleType
) -> None:
    """Over a digit's sounds, the mean spectrum of its two tones stands out from that of the other five."""
    length = 4000
    frequencies = np.array(script.ROWS + script.COLUMNS)
    bins = np.round(frequencies * length / 8000).astype(int)
    for digit in range(10):
        heard = [samples(data / row["sound"]) for row in rows["train"] if row["label"] == digit and row["sound"]]
        assert all(len(sound) == length and np.abs(sound).max() < 32767 for sound in heard)
        power = np.mean([np.abs(np.fft.rfft(sound)) ** 2 / np.mean(sound**2) for sound in heard], axis=0)
        near = np.array([power[center - 3 : center + 4].max() for center in bins])
        own = np.isin(frequencies, script.TONES[str(digit)])
        assert own.sum() == 2
        assert near[own].min() > 3 * near[~own].max()


def test_tones_are_those_of_the_keypad(script: ModuleType) -> None:
    """ITU-T Q.23, table 1."""
    assert script.TONES["1"] == (697, 1209)
    assert script.TONES["5"] == (770, 1336)
    assert script.TONES["9"] == (852, 1477)
    assert script.TONES["0"] == (941, 1336)


def test_the_seed_decides_every_byte(script: ModuleType, data: Path, tmp_path: Path) -> None:
    def digest(folder: Path) -> dict[str, str]:
        files = [*folder.glob("*.jsonl"), *sorted(folder.glob("*/*"))[:300]]
        return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    script.write(tmp_path / "again", seed=0)
    assert digest(tmp_path / "again") == digest(data)
    script.write(tmp_path / "other", seed=1)
    other, same = digest(tmp_path / "other"), digest(data)
    assert other["train.jsonl"] != same["train.jsonl"]
    assert all(other[name] != same[name] for name in other.keys() & same.keys() if name.startswith("sounds"))
