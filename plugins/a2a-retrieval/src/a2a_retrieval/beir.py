"""The source `beir`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.components import SourceConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

if TYPE_CHECKING:
    from a2a_core.components import Rows


class BeirSource(SourceConfig):
    """A corpus, queries and judgements in files of their own, as BEIR has them (arXiv 2104.08663).

    `corpus.jsonl` with `_id`, `title` (or none) and `text`; `queries.jsonl`, or `queries.<split>.jsonl`, with `_id` and `text`;
    `qrels/<split>.tsv` with query, document and grade (with a heading or without; four columns as TREC has them, too). A grade
    of 0 or less says that a document does not answer the query.

    Rows have `query`, `query_id`, `positive` (title and text), `positive_id`, and `relevant`, each document that answers the
    query with its grade. For training a row is a query with one document that answers it, one for each such pair. With
    `corpus_rows`, for evaluation, each query comes once, with the best of its documents, and then the whole rest of the corpus,
    a document a row: the metric `retrieval` ranks all of it.
    """

    name = "beir"
    may_change = frozenset({"path"})
    path: Path = option("the folder", exists=True)
    split: str = option("which queries and judgements", default="train")
    corpus_rows: bool = option("each query once, and all other documents in rows of their own: for evaluation", default=False)
    queries: Path | None = option(
        "the file of queries (empty: `queries.<split>.jsonl` in the folder, else `queries.jsonl`)", default=None, exists=True
    )
    qrels: Path | None = option("the judgements (empty: `qrels/<split>.tsv` in the folder)", default=None, exists=True)
    corpus: Path | None = option("the documents (empty: `corpus.jsonl` in the folder)", default=None, exists=True)

    def build(self) -> Rows:
        """Open the files; A2AError where one is missing, or judgements name what is not there."""
        from a2a_retrieval.beir_rows import open_rows

        own = self.path / f"queries.{self.split}.jsonl"
        queries = self.queries or (own if own.is_file() else self.path / "queries.jsonl")
        qrels = self.qrels or self.path / "qrels" / f"{self.split}.tsv"
        corpus = self.corpus or self.path / "corpus.jsonl"
        for file in (corpus, queries, qrels):
            if not file.is_file():
                there = sorted(each.stem for each in (self.path / "qrels").glob("*.tsv"))
                raise A2AError(f"there is no file {file}", hint=f"there are judgements of {', '.join(there)}" if there else "")
        return open_rows(corpus, queries, qrels, self.corpus_rows)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Two queries, three documents."""
        documents = [
            '{"_id": "a", "title": "A", "text": "one"}',
            '{"_id": "b", "text": "two"}',
            '{"_id": "c", "text": "three"}',
        ]
        (folder / "corpus.jsonl").write_text("\n".join(documents), "utf-8")
        (folder / "queries.jsonl").write_text('{"_id": "1", "text": "first?"}\n{"_id": "2", "text": "second?"}\n', "utf-8")
        (folder / "qrels").mkdir(exist_ok=True)
        (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t1\n2\tb\t2\n2\ta\t1\n", "utf-8")
        return cls(path=folder)
