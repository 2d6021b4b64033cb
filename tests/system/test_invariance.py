"""One recipe, one training: on one process, accumulated, and on two ranks by every backend, with the same numbers."""

from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

STEPS, TOLERANCE = 20, 1e-5
SHAPES: dict[str, dict[str, Any]] = {
    "single": {},
    "accumulated": {"trainer.micro_batch": 2},
    "ddp": {"backend.use": "ddp"},
    "fsdp": {"backend.use": "fsdp"},
    **{f"zero-{stage}": {"backend.use": "deepspeed", "backend.stage": stage} for stage in (1, 2, 3)},
}
"""How the same step is done: at once, 4 times 2 rows, 4 rows on each of two ranks."""
TRAINER = """
[trainer]
max_steps = 20
batch_size = 8
optimizer = "sgd"
learning_rate = 0.02
log_every = 1
evaluate = "no"
save = "no"
report_to = []
[backend]
device = "cpu"
"""
ADAMW = TRAINER.replace('"sgd"', '"adamw_torch"\nadam_epsilon = 1e-3').replace("0.02", "0.001")
"""Near 0 a gradient's noise would become a step of full length."""
ENCODERS = """
[encoders.image]
use = "patch"
image_size = 8
patch_size = 4
width = 8
num_heads = 2
layers = 1
dropout = 0.0
[encoders.audio]
use = "log-mel"
width = 8
num_heads = 2
layers = 1
sample_rate = 8000
dropout = 0.0
"""
CLASSIFICATION = f"""
[data.train]
use = "jsonl"
path = "train.jsonl"
{ENCODERS}
[fusion]
use = "bottleneck"
width = 8
num_heads = 2
layers = 2
dropout = 0.0
[heads.shade]
use = "classify"
[losses.shade]
use = "cross-entropy"
head = "shade"
{ADAMW}
"""
LANGUAGE = f"""
[data.train]
use = "chat"
path = "train.jsonl"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 2
num_attention_heads = 2
max_position_embeddings = 256
[heads.answer]
use = "lm"
[losses.answer]
use = "next-token"
head = "answer"
[collator]
use = "chat"
template = "plain"
max_length = 96
{TRAINER}
"""
PACKED = LANGUAGE.replace("max_length = 96", "packing = true\nmax_length = 64")
MIXED = (
    LANGUAGE.replace("[fusion]", f"{ENCODERS}[fusion]")
    + """
[heads.level]
use = "regress"
[losses.level]
use = "mse"
head = "level"
weight = 0.5
[[trainer.groups]]
match = "encoders.*|projectors.*"
learning_rate = 0.05
[[trainer.groups]]
match = "fusion.*|heads.*"
"""
)
RECIPES = {"classification": CLASSIFICATION, "language": LANGUAGE, "packed": PACKED, "mixed": MIXED}


def write_rows(place: Any, media: bool) -> None:
    """Answers of one word to ten, about pictures and sounds of two shades with `media`.

    Every third row lacks one of the two, every seventh both; every fourth has no `value`.
    """
    generator, rows = np.random.default_rng(0), []
    for index in range(29):
        shade, level = ("dark", 60) if index % 2 else ("light", 190)
        row: dict[str, Any] = {"id": str(index), "label": shade}
        if media and index % 3 and index % 7:
            row["image"] = [f"{index}.png"]
            pixels = generator.integers(level - 50, level + 50, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(place.folder / f"{index}.png")
        if media and index % 3 != 1 and index % 7:
            row["audio"] = [f"{index}.wav"]
            tone = np.sin(np.arange(400 + 100 * (index % 5)) * level / 200) * 0.4
            soundfile.write(place.folder / f"{index}.wav", tone + generator.normal(0, 0.05, len(tone)), 8000)
        if index % 4:
            row["value"] = level + index
        asked = "".join(f"<{name}>" for name in ("image", "audio") if name in row) + "what" + "?" * (index % 6)
        answer = " ".join([shade] * (1 + index % 10))
        row["messages"] = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        rows.append(row)
    place.write(rows)


def sets(values: dict[str, Any]) -> list[str]:
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def trained(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a run of every recipe in every shape, `<recipe>/<shape>`; tests only read it."""
    places = {}
    for name, text in RECIPES.items():
        place = places[name] = workplace(tmp_path_factory.mktemp(name))
        write_rows(place, media=name in ("classification", "mixed"))
        place.recipe.write_text(text)
    ranks = []
    for shape, values in SHAPES.items():
        for place in places.values():
            words = [str(place.recipe), "--out", str(place.folder / shape), *sets(values)]
            if "backend.use" in values:
                ranks.append([*words, *sets({"backend.processes": 2, "backend.timeout": 60})])
            else:
                place.run("train", *words)
    places["classification"].in_turn(*ranks)
    return places


def numbers(record: dict[str, Any]) -> dict[str, float]:
    """What of a record belongs to the step, and not to the clock; `epoch` counts batches, as transformers does."""
    return {name: value for name, value in record.items() if name.startswith(("loss", "grad_norm", "learning_rate"))}


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "single"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_step_is_that_of_one_process(trained: Any, recipe: str, shape: str) -> None:
    """Loss, terms, gradient norms (of groups, too) of the first steps; an epoch's last step has fewer rows than the others."""
    wanted, found = (list(map(numbers, trained[recipe].history(name))) for name in ("single", shape))
    assert len(wanted) == len(found) == STEPS
    for step, (one, other) in enumerate(zip(wanted, found, strict=True), 1):
        assert other == pytest.approx(one, rel=TOLERANCE, abs=TOLERANCE), f"step {step}"
