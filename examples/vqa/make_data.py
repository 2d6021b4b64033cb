"""Write the data of this example: pictures of four handwritten digits, and questions about them in words.

    python make_data.py [--out data] [--seed 0]

The digits are the 1,797 real ones of scikit-learn's `load_digits` (8 x 8, 16 grey levels), four to a picture of 16 x 16.
Pictures to validate are made of digits that none to train on has. A conversation in `train.jsonl` asks for two digits and a
sum, in any order; a row of `digit.jsonl` (which digit is where) and `sum.jsonl` (what a row or a column adds up to) asks one
question. `tokenizer/` is a byte-level BPE learned from the conversations.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PLACES = {"top left": 0, "top right": 1, "bottom left": 2, "bottom right": 3}
LINES = {"top row": (0, 1), "bottom row": (2, 3), "left column": (0, 2), "right column": (1, 3)}
PICTURES, HELD_OUT = 10000, 300
VOCABULARY = 320
SPECIAL = ("<pad>", "<|im_start|>", "<|im_end|>")

Turn = tuple[str, str]


def about_digits(digits: list[int]) -> Iterator[Turn]:
    """Which digit is where."""
    for place, index in PLACES.items():
        yield f"what is the digit at the {place}?", str(digits[index])


def about_sums(digits: list[int]) -> Iterator[Turn]:
    """What a row or a column adds up to."""
    for line, (one, other) in LINES.items():
        yield f"what is the sum of the {line}?", str(digits[one] + digits[other])


def picture(images: np.ndarray) -> Image.Image:
    """Four digits (4, 8, 8), values 0 to 16, as a grey picture of 16 x 16."""
    tiled = images.reshape(2, 2, 8, 8).transpose(0, 2, 1, 3).reshape(16, 16)
    return Image.fromarray((tiled * 15.9375).astype(np.uint8))


def row(name: str, turns: list[Turn]) -> dict[str, Any]:
    """A conversation about a picture, which the first question shows."""
    messages = []
    for number, (question, answer) in enumerate(turns):
        mark = "<image>" if number == 0 else ""
        messages += [{"role": "user", "content": mark + question}, {"role": "assistant", "content": answer}]
    return {"id": name, "image": f"images/{name}.png", "messages": messages}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """A JSON object a line."""
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))


def main() -> None:
    """Make pictures, conversations and the tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    images, labels = load_digits(return_X_y=True)
    order = random.permutation(len(labels))
    held, rest = order[: len(order) // 5], order[len(order) // 5 :]
    (given.out / "images").mkdir(parents=True, exist_ok=True)

    def drawn(name: str, pool: np.ndarray) -> list[int]:
        chosen = random.choice(pool, 4)
        picture(images[chosen]).save(given.out / "images" / f"{name}.png")
        return [int(each) for each in labels[chosen]]

    def some(turns: Iterable[Turn], count: int) -> list[Turn]:
        every = list(turns)
        return [every[each] for each in random.permutation(len(every))[:count]]

    train, digit, added = [], [], []
    for number in range(given.pictures):
        digits = drawn(f"{number:05}", rest)
        turns = [*some(about_digits(digits), 2), *some(about_sums(digits), 1)]
        train.append(row(f"{number:05}", some(turns, 3)))
    for number in range(HELD_OUT):
        digits = drawn(f"held-{number:03}", held)
        digit.append(row(f"held-{number:03}", some(about_digits(digits), 1)))
        added.append(row(f"held-{number:03}", some(about_sums(digits), 1)))
    write(given.out / "train.jsonl", train)
    write(given.out / "digit.jsonl", digit)
    write(given.out / "sum.jsonl", added)
    texts = [f"{each['role']}\n{each['content']}" for line in train for each in line["messages"]]
    learn_tokenizer(texts).save_pretrained(given.out / "tokenizer")
    print(f"{len(train)} conversations to train on, {len(digit)} + {len(added)} questions to validate, in {given.out}")


def learn_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE; numbers are read digit by digit."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<|im_end|>")


if __name__ == "__main__":
    main()
