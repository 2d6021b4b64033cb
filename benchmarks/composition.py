"""A step of a LLaVA-shaped composition beside `LlavaForConditionalGeneration` in stock transformers.Trainer.

Both are a CLIP tower (its last layer but one, patches alone), two linear layers and a Llama of the same sizes, from configs;
both train on the same pictures and conversations, read and tokenised beforehand, 8 rows a step. Ours: encoder `hf-vision`,
projector `mlp`, fusion `causal-lm`, loss `next-token`, trainer `hf`. Texts are equally long, so that padding is no advantage.
On a GPU, where there is one, in bfloat16. Target: at most 1.03x.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from a2a_core.job import assemble
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run

STEPS, ROUNDS, ROWS = 8, 5, 8
TARGET = 1.03
VISION = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "image_size": 112,
    "patch_size": 14,
}
TEXT = {
    "vocab_size": 4000,
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "max_position_embeddings": 512,
}
RECIPE = """
[data.train]
use = "chat"
path = "train.jsonl"
[encoders.image]
use = "hf-vision"
layer = -2
select = "patch"
[encoders.image.config]
model_type = "clip_vision_model"
VISION
[projectors.image]
use = "mlp"
[fusion]
use = "causal-lm"
[fusion.config]
model_type = "llama"
TEXT
[heads.answer]
use = "lm"
[losses.answer]
use = "next-token"
head = "answer"
[collator]
use = "chat"
template = "plain"
[trainer]
max_steps = STEPS
batch_size = ROWS
save = "no"
report_to = []
learning_rate = 1e-4
PRECISION
"""
CUDA = torch.cuda.is_available()


class Held(Sequence[Any]):
    """Rows in memory."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]


def main() -> int:
    """Print milliseconds a step and the ratio; 1 if it is missed."""
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        times: dict[str, list[float]] = {"LLaVA, stock Trainer": [], "a2a": []}
        for number in range(ROUNDS):
            for kind, each in times.items():
                each.append(run(kind, folder, number))
    best = {kind: statistics.median(each[1:]) for kind, each in times.items()}
    for kind, each in best.items():
        print(f"{kind:22} {each / STEPS * 1e3:8.1f} ms a step")
    ratio = best["a2a"] / best["LLaVA, stock Trainer"]
    print(f"ratio {ratio:.3f} (target {TARGET})")
    return int(ratio > TARGET)


def write(folder: Path) -> None:
    """Pictures, conversations and the recipe."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(STEPS * ROWS):
        Image.fromarray(random.integers(0, 256, (112, 112, 3), dtype=np.uint8)).save(folder / f"{number}.png")
        said = "".join(random.choice(list("abcdefgh "), 120))
        messages = [{"role": "user", "content": "<image>what is it?"}, {"role": "assistant", "content": said}]
        rows.append({"id": str(number), "image": f"{number}.png", "messages": messages})
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = RECIPE.replace("VISION", toml(VISION)).replace("TEXT", toml(TEXT))
    text = (
        text.replace("STEPS", str(STEPS)).replace("ROWS", str(ROWS)).replace("PRECISION", 'precision = "bf16"' if CUDA else "")
    )
    (folder / "recipe.toml").write_text(text)


def toml(values: dict[str, int]) -> str:
    """Lines of a table."""
    return "\n".join(f"{key} = {value}" for key, value in values.items())


def run(kind: str, folder: Path, number: int) -> float:
    """Seconds of `STEPS` steps."""
    loaded = load_recipe(folder / "recipe.toml", None, for_run=True)
    place = folder / f"{kind[:3]}-{number}"
    place.mkdir()
    job = assemble(loaded, Run(place), Silent())
    data: Any = job.data
    read = [job.data["train"][index] for index in range(len(job.data["train"]))]
    if kind == "a2a":
        data["train"] = Held(read)
        fit: Any = loaded.recipe.trainer.build(job)
        return timed(fit.engine.train)
    return timed(stock(read, place).train)


def stock(samples: Sequence[Any], place: Path) -> transformers.Trainer:
    """The same rows and settings, and LLaVA's own class; its image token is one that no text has."""
    image = TEXT["vocab_size"] - 1
    rows = []
    for sample in samples:
        ids = sample.text.ids.clone()
        ids[sample.text.media["image"]] = image
        labels = ids.masked_fill(sample.text.weights == 0, -100)
        pixels = sample.items["image"][0].tensors["pixel_values"]
        pixels = pixels.float() if pixels.is_floating_point() else (pixels.float() / 255 - 0.45) / 0.27
        rows.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "pixel_values": pixels})
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION), text_config=LlamaConfig(**TEXT), image_token_index=image, use_cache=False
    )
    args = transformers.TrainingArguments(
        output_dir=str(place),
        max_steps=STEPS,
        per_device_train_batch_size=ROWS,
        learning_rate=1e-4,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        use_cpu=not CUDA,
        bf16=CUDA,
        disable_tqdm=True,
        optim="adamw_torch",
    )
    model: Any = LlavaForConditionalGeneration(config)
    made = transformers.Trainer(model=model, args=args, train_dataset=Held(rows), data_collator=together)
    made.remove_callback(transformers.trainer_callback.PrinterCallback)
    return made


def together(rows: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Padded on the right."""
    padding = {"input_ids": 0, "attention_mask": 0, "labels": -100}
    found = {
        key: torch.nn.utils.rnn.pad_sequence([row[key] for row in rows], batch_first=True, padding_value=value)
        for key, value in padding.items()
    }
    return found | {"pixel_values": torch.stack([row["pixel_values"] for row in rows])}


def timed(action: Any) -> float:
    """Seconds: of this process, or by the clock where a GPU works."""
    clock = time.perf_counter if CUDA else time.process_time
    start = clock()
    action()
    return clock() - start


if __name__ == "__main__":
    sys.exit(main())
