"""Learn a byte-level BPE of 1024 tokens from the training passages: data/tokenizer.

    python make_tokenizer.py [FOLDER]

Prints what turns the loss of a token into that of a character: how many tokens of the validation passages a character is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[2] / "shared" / "data" / "tinyshakespeare"
VOCABULARY = 1024


def read(path: Path) -> list[str]:
    """The passages."""
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def learn(texts: list[str]) -> PreTrainedTokenizerFast:
    """The tokenizer; a text is ended by `<end>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


def main(data: Path, out: Path) -> None:
    """Learn, save and count."""
    tokenizer = learn(read(data / "train.jsonl"))
    tokenizer.save_pretrained(out)
    texts = read(data / "validation.jsonl")
    tokens = sum(len(ids) for ids in tokenizer(texts)["input_ids"])  # but the first of each, and its end
    characters = sum(len(text) + 1 for text in texts)
    print(f"{len(tokenizer)} tokens in {out}; {tokens / characters:.4f} predicted tokens a character")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA, HERE / "data" / "tokenizer")
