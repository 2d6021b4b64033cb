"""The shipped recipes, whole: seven billion parameters that have shapes and no values."""

from __future__ import annotations

import json
import resource
import time
from typing import NamedTuple

import pytest
from PIL import Image

from a2a_core.deep import Ask, Report, check
from a2a_core.recipe import Loaded, load_recipe

pytest.importorskip("a2a_chat", reason="the conversations are a2a-chat's")
pytest.importorskip("a2a_hf", reason="the trainer is a2a-hf's")
pytest.importorskip("a2a_peft", reason="what freezes is a2a-peft's")

PROJECTOR = 1024 * 4096 + 4096 + 4096 * 4096 + 4096
VICUNA = 2 * 32000 * 4096 + 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 4096


class Looked(NamedTuple):
    """A preset, what the deep check says of it, and what that took."""

    loaded: Loaded
    report: Report
    seconds: float
    megabytes: float


@pytest.fixture(scope="module", params=["llava-1.5-stage1", "llava-1.5-stage2"])
def looked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Looked:
    folder = tmp_path_factory.mktemp(request.param)
    Image.new("RGB", (500, 375), (90, 20, 30)).save(folder / "a.jpg")
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "Dark red."}]
    (folder / "train.json").write_text(json.dumps([{"id": str(i), "image": "a.jpg", "conversations": turns} for i in range(8)]))
    recipe = folder / "recipe.toml"
    recipe.write_text(f'extends = "a2a-llm:{request.param}"\n[data.train]\npath = "train.json"\n')
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded = load_recipe(recipe, None, for_run=True)
    report = check(loaded, Ask(8, 8, None))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Looked(loaded, report, time.process_time() - started, (after - before) / 1024)


def test_the_deep_check_passes_and_holds_no_weights(looked: Looked) -> None:
    """Alone it takes 9 s of CPU time and 550 MB, imports among them."""
    assert not looked.report.problems
    assert not looked.report.notes
    assert looked.seconds < 30
    assert looked.megabytes < 1000


def test_what_is_trained(looked: Looked) -> None:
    """The projector, and in stage 2 the language model; the part of CLIP up to its last layer but one is there and frozen."""
    parts = {part.path: part for part in looked.report.parts}
    second = looked.loaded.recipe.trainer.batch_size == 128
    assert parts["projectors.image"].trainable == parts["projectors.image"].parameters == PROJECTOR
    assert parts["fusion"].parameters == VICUNA
    assert parts["fusion"].trainable == (VICUNA if second else 0)
    assert parts["encoders.image"].parameters == pytest.approx(291e6, rel=0.01)
    assert parts["encoders.image"].trainable == 0
    assert {row.tokens["image"] for row in looked.report.samples} == {576}


def test_the_settings_of_the_paper(looked: Looked) -> None:
    """arXiv 2310.03744, table 9."""
    trainer, template = looked.loaded.recipe.trainer, looked.loaded.recipe.collator.template
    found = (trainer.batch_size, trainer.learning_rate, trainer.schedule, trainer.warmup_steps, trainer.weight_decay, template)
    assert found in [(256, 1e-3, "cosine", 0.03, 0.0, "plain"), (128, 2e-5, "cosine", 0.03, 0.0, "vicuna")]
    assert trainer.epochs == 1
