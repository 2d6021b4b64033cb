"""What there is before training: BM25 and MiniLM as it is on medquad_retrieval, words in common and MiniLM on stsb.

python baseline.py [FOLDER]        # where the data sets lie; needs bm25s, scikit-learn and data/minilm (see README.md)

The same queries, documents (title and text) and measure as in the recipes `medquad.toml` and `stsb.toml`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bm25s
import torch
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from a2a_retrieval.measures import measured

FOLDER = Path(__file__).parents[3] / "shared" / "data"
MINILM = Path(__file__).parent / "data" / "minilm"
MEASURES = "ndcg@10", "recall@1", "recall@10", "mrr@10"


def main(folder: Path) -> None:
    """Both tasks."""
    logging.disable_progress_bar()
    medquad(folder / "medquad_retrieval")
    stsb(folder / "stsb")


def medquad(folder: Path) -> None:
    """Validation queries against the whole corpus."""
    corpus = {row["_id"]: f"{row['title']} {row['text']}" for row in read(folder / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in read(folder / "queries.validation.jsonl")}
    qrels: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels" / "validation.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = float(grade)
    documents, asked = list(corpus.values()), list(queries.values())
    for name, scores in (
        ("BM25", bm25(asked, documents)),
        ("MiniLM before training", embedded(asked, 128) @ embedded(documents, 128).T),
        ("the same, of 256 tokens", embedded(asked, 256) @ embedded(documents, 256).T),
    ):
        run = {query: dict(zip(corpus, row, strict=True)) for query, row in zip(queries, scores.tolist(), strict=True)}
        found = measured(qrels, run, MEASURES)
        print(f"medquad  {name:24}", *(f"{key} {value:.4f}" for key, value in found.items()), sep="   ")


def bm25(queries: Sequence[str], documents: Sequence[str]) -> Tensor:
    """Scores (queries, documents) of bm25s with its own settings: lower-case words, no English stop words."""
    retriever = bm25s.BM25()
    retriever.index(bm25s.tokenize(documents, show_progress=False), show_progress=False)
    asked = bm25s.tokenize(queries, show_progress=False, return_ids=False)
    return torch.stack([torch.as_tensor(retriever.get_scores(words)) for words in asked])


def stsb(folder: Path) -> None:
    """Rank correlation of scores and cosines, in English and in German."""
    for language in ("en", "de"):
        rows = [row for row in read(folder / "validation.jsonl") if row["lang"] == language]
        one, other = ([row[f"sentence{place}"] for row in rows] for place in (1, 2))
        words = TfidfVectorizer().fit(one + other)
        common = words.transform(one).multiply(words.transform(other)).sum(1)
        print(f"stsb {language}  {'tf-idf of words':24}   spearman {correlation(rows, common):.4f}")
        cosines = (embedded(one, 128) * embedded(other, 128)).sum(1)
        print(f"stsb {language}  {'MiniLM before training':24}   spearman {correlation(rows, cosines):.4f}")


def correlation(rows: Sequence[dict[str, Any]], found: Any) -> float:
    """Spearman's, with the rows' scores."""
    result: float = spearmanr([row["score"] for row in rows], found).statistic.item()
    return result


@torch.inference_mode()
def embedded(texts: Sequence[str], most: int) -> Tensor:
    """MiniLM's vectors (N, 384) of length 1: means of their first tokens, as many as `most`."""
    tokenizer, model = AutoTokenizer.from_pretrained(MINILM), AutoModel.from_pretrained(MINILM).eval()
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors = torch.empty(len(texts), model.config.hidden_size)
    for start in range(0, len(order), 32):
        places = order[start : start + 32]
        chosen = [texts[place] for place in places]
        batch = tokenizer(chosen, padding=True, truncation=True, max_length=most, return_tensors="pt")
        mask = batch["attention_mask"][..., None]
        vectors[places] = F.normalize((model(**batch).last_hidden_state * mask).sum(1), dim=1)
    return vectors


def read(path: Path) -> list[dict[str, Any]]:
    """A file's rows."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
