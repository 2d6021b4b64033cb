"""Learns the tokenizer of the recipe from the training lines: 2,000 pieces of lower-case text, by byte-pair encoding.

python make_tokenizer.py [FOLDER]        # where train.jsonl lies; writes data/tokenizer.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "meld_text"
OUT = Path(__file__).parent / "data" / "tokenizer.json"
SPECIAL = ["[PAD]", "[UNK]"]


def main(folder: Path) -> None:
    """Learn and write it."""
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=2000, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator((json.loads(line)["text"] for line in lines), trainer)
    OUT.parent.mkdir(exist_ok=True)
    tokenizer.save(str(OUT))
    print(f"wrote {OUT}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
