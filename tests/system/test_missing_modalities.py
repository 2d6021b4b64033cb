"""A rank whose rows have no picture, no sound or no video waits for nobody, and changes nothing for the others."""

from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from a2a_core.data import Batches
from a2a_video.video import example_files

SECONDS = 300
"""Until a training that hangs is killed; ranks that wait for one another give up after a minute."""
BACKENDS: dict[str, dict[str, Any]] = {
    "ddp": {"backend.use": "ddp"},
    "fsdp": {"backend.use": "fsdp"},
    "zero-3": {"backend.use": "deepspeed", "backend.stage": 3},
}
NOTHING: tuple[str, ...] = ()
EVERYTHING = ("image", "audio", "video")
DEALT = (
    (("image",), ("audio",)),
    (("video",), NOTHING),
    (EVERYTHING, ("image",)),
    (NOTHING, NOTHING),
    (("audio", "video"), EVERYTHING),
    (("image", "video"), NOTHING),  # of one row alone: the other rank has none
)
"""What the rows of each rank have, step by step of the first epoch; the second one mixes them."""
ENCODERS = """
[encoders.image]
use = "patch"
image_size = 8
patch_size = 4
width = 8
num_heads = 2
layers = 1
dropout = 0.0
freeze = true
cache = false
[encoders.audio]
use = "log-mel"
width = 8
num_heads = 2
layers = 1
sample_rate = 8000
dropout = 0.0
[encoders.video]
use = "frames"
num_frames = 2
layers = 1
num_heads = 2
dropout = 0.0
[encoders.video.image]
use = "patch"
image_size = 8
patch_size = 4
width = 8
num_heads = 2
layers = 1
dropout = 0.0
"""
TRAINER = """
[trainer]
epochs = 2
batch_size = 8
optimizer = "sgd"
learning_rate = 0.02
log_every = 1
save = "no"
report_to = []
[backend]
device = "cpu"
"""
DATA = """
seed = 3
[data.train]
use = "chat"
path = "train.jsonl"
[data.validation]
use = "chat"
path = "validation.jsonl"
"""
CLASSIFICATION = f"""
{DATA.replace('"chat"', '"jsonl"')}
{ENCODERS}
[fusion]
use = "bottleneck"
width = 8
num_heads = 2
layers = 2
dropout = 0.0
[heads.label]
use = "classify"
[losses.label]
use = "cross-entropy"
head = "label"
{TRAINER}
"""
LANGUAGE = f"""
{DATA}
{ENCODERS}
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
vocab_size = 259
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
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
{TRAINER}
"""
RECIPES = {"classification": CLASSIFICATION, "language": LANGUAGE}


def write_rows(place: Any) -> None:
    """As they are dealt out; the validation rows, which nobody shuffles, are those of the first steps."""
    generator = np.random.default_rng(0)
    for name, level in (("dark.png", 60), ("light.png", 190)):
        Image.fromarray(generator.integers(level - 50, level + 50, (8, 8), dtype=np.uint8)).save(place.folder / name)
        soundfile.write(place.folder / name.replace("png", "wav"), generator.normal(0, 0.1, 4 * level), 8000)
    film = example_files(place.folder)[0].name
    several = 8 * (len(DEALT) - 1) + 1
    rows: list[dict[str, Any]] = [{} for _ in range(several)]
    for rank in range(2):
        order = Batches(several, 4, shuffle=True, seed=3, rank=rank, ranks=2)
        for chosen, had in zip(order, [step[rank] for step in DEALT], strict=True):
            for index in chosen:
                shade = ("dark", "light")[index % 2]
                media = {"image": f"{shade}.png", "audio": f"{shade}.wav", "video": film}
                asked = "".join(f"<{name}>" for name in had) + "?" * (1 + index % 5)
                said = [{"role": "user", "content": asked}, {"role": "assistant", "content": shade}]
                given = {name: [media[name]] for name in had}
                rows[index] = {"id": str(index), "label": shade, "messages": said, **given}
    place.write(rows)
    place.write(rows[:7], "validation")


@pytest.fixture(scope="module")
def trained(workplace: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with a run of every recipe on one process and on two ranks of every backend; tests only read it."""
    place = workplace(tmp_path_factory.mktemp("missing"))
    write_rows(place)
    for name, text in RECIPES.items():
        (place.folder / f"{name}.toml").write_text(text)
        place.run("train", f"{name}.toml", "--out", f"{name}-single")
    ranks = []
    for backend, values in BACKENDS.items():
        given = {**values, "backend.processes": 2, "backend.timeout": 60}
        sets = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        ranks += [[f"{name}.toml", "--out", f"{name}-{backend}", *sets] for name in RECIPES]
    place.in_turn(*ranks, seconds=SECONDS)
    return place


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_rank_hangs_and_none_skews_the_others(trained: Any, recipe: str, backend: str) -> None:
    """Above all it ends; and each step's loss and gradient, and each evaluation, are those of one process."""
    wanted, found = (trained.history(f"{recipe}-{name}", split=None) for name in ("single", backend))
    assert [record["step"] for record in found] == [record["step"] for record in wanted]
    assert sum(record["split"] == "train" for record in found) == 2 * len(DEALT)
    for one, other in zip(wanted, found, strict=True):
        numbers = {name: value for name, value in one.items() if name.startswith(("loss", "grad_norm"))}
        assert {name: other[name] for name in numbers} == pytest.approx(numbers, rel=1e-5, abs=1e-5), one["step"]
