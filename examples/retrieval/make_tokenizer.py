"""Learns the tokenizer of `flickr.toml` from the training captions: the lower-case words that occur at least three times.

python make_tokenizer.py [FOLDER]        # where train.jsonl lies; writes data/words.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "flickr8k_mini"
OUT = Path(__file__).parent / "data" / "words.json"


def main(folder: Path) -> None:
    """Learn and write it."""
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(min_frequency=3, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator((caption for line in lines for caption in json.loads(line)["captions"]), trainer)
    OUT.parent.mkdir(exist_ok=True)
    tokenizer.save(str(OUT))
    print(f"wrote {OUT}: {tokenizer.get_vocab_size()} words")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
