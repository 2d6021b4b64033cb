"""A job without a trainer: the testing kit's smallest parts, rows of numbers, and an encoder that reads them from files."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from a2a_core import Row
from a2a_core.builtin.pad import PadCollator
from a2a_core.data import collator, prepare
from a2a_core.inference import Lines
from a2a_core.job import Job
from a2a_core.model import A2AModel
from a2a_core.reporter import Silent
from a2a_core.runs import Run
from a2a_core.structures import Plan

FILED = '''
"""Numbers in files."""
import json
from typing import ClassVar, Literal
from a2a_core import option
from a2a_core.testing.reference import ReferenceEncoder, ReferenceProcessor


class FiledProcessor(ReferenceProcessor):
    def __call__(self, raw):
        numbers = json.loads(raw.read_text()) if hasattr(raw, "read_text") else raw
        return None if numbers == "nothing" else super().__call__(numbers)


class FiledEncoder(ReferenceEncoder):
    """Lists of numbers in files to tokens; a file that says "nothing" holds none."""

    name = "filed"
    reads: ClassVar[Literal["value", "file"]] = "file"

    def processor(self):
        return FiledProcessor()


class StrangeEncoder(ReferenceEncoder):
    """Has a cache of its own."""

    name = "strange"
    cache: bool = option("keep keys and values", default=True)
'''


class Notes(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.ready: list[tuple[str, int, int, int]] = []

    def features(self, encoder: str, found: int, computed: int, size: int) -> None:
        self.ready.append((encoder, found, computed, size))

    def note(self, text: str) -> None:
        self.texts.append(text)


class Kit:
    """Makes jobs over `rows`; keywords are the options of the encoder `left`."""

    def __init__(self, parts: Any, folder: Path) -> None:
        self.parts, self.folder = parts, folder
        self.rows: list[dict[str, Any]] = [
            {"left": [n / 7, 1.0 - n, 0.5][: 1 + n % 3], "right": [float(n)], "value": n / 3} for n in range(10)
        ]
        self.rows[4]["left"] = None
        self.batch, self.passes = 3, 2.0

    def __call__(self, seed: int = 0, splits: int = 1, **options: Any) -> Job:
        left = {"use": "reference", "freeze": True} | options
        parts = self.parts(encoders={"left": left, "right": {"use": "reference", "width": 8}})
        torch.manual_seed(seed)
        model = A2AModel.from_parts(parts)
        rows = [Row(fields, f"row-{place}", self.folder, f"rows:{place}") for place, fields in enumerate(self.rows)]
        data = {name: prepare(Lines(rows), parts) for name in ("train", "validation")[:splits]}
        trainer = SimpleNamespace(passes=lambda rows: self.passes, plan=lambda: Plan(batch_size=self.batch))
        recipe: Any = SimpleNamespace(trainer=trainer, collator=PadCollator())
        return Job(recipe, Run(self.folder), model, data, collator(PadCollator(), parts), Notes())


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("A2A_CACHE", str(folder))
    monkeypatch.delenv("A2A_CACHE_LIMIT", raising=False)
    return folder


@pytest.fixture
def kit(toy_parts: Callable[..., Any], make_plugin: Any, cache_folder: Path, tmp_path: Path) -> Kit:
    make_plugin(
        "filed-parts",
        {"a2a_encoders": {"filed": "filed_parts.filed:FiledEncoder", "strange": "filed_parts.filed:StrangeEncoder"}},
        filed=FILED,
    )
    return Kit(toy_parts, tmp_path)
