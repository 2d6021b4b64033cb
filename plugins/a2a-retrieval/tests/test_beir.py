import pickle

import pytest

from a2a_core import A2AError
from a2a_retrieval.beir import BeirSource
from a2a_retrieval.pairs import PairTarget

FIELDS = {"query": ("query",), "positive": ("positive",)}


@pytest.fixture
def folder(tmp_path):
    BeirSource.tiny(tmp_path)
    return tmp_path


def test_a_row_for_each_pair(folder):
    rows = BeirSource(path=folder).build()
    assert [
        (row.fields["query"], row.fields["positive"], row.fields["relevant"]) for row in map(rows.__getitem__, range(3))
    ] == [
        ("first?", "A one", {"a": 1.0}),
        ("second?", "two", {"b": 2.0, "a": 1.0}),
        ("second?", "A one", {"b": 2.0, "a": 1.0}),
    ]
    assert list(rows.column("positive_id")) == ["a", "b", "a"]
    assert rows[1].place == "queries.jsonl:2"
    assert [rows[index].id for index in range(3)] == ["1:a", "2:b", "2:a"]


def test_every_query_once_and_the_whole_corpus(folder):
    rows = BeirSource(path=folder, corpus_rows=True).build()
    assert [row.fields.get("query_id") for row in map(rows.__getitem__, range(len(rows)))] == ["1", "2", None]
    assert [row.fields["positive_id"] for row in map(rows.__getitem__, range(len(rows)))] == ["a", "b", "c"]
    target = PairTarget(FIELDS)
    assert target(rows[1].fields).relevant == {"b": 2.0, "a": 1.0}
    assert target(rows[2].fields).query == ""
    assert pickle.loads(pickle.dumps(rows))[2].fields == rows[2].fields


def test_four_columns_without_a_heading_and_grades_of_nothing(folder):
    (folder / "qrels" / "dev.tsv").write_text("1 0 a 1\n1 0 b 0\n2 0 c -1\n")
    rows = BeirSource(path=folder, split="dev").build()
    assert [row.fields["relevant"] for row in map(rows.__getitem__, range(len(rows)))] == [{"a": 1.0}]


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("1\tz\t1\n", "train.tsv:1: there is no document `z` in corpus.jsonl"),
        ("7\ta\t1\n", "train.tsv:1: there is no query `7` in queries.jsonl"),
        ("1\ta\t0\n", "names no document that answers a query"),
        ("1\ta\t1\n1\ta\n", "train.tsv:2 is no judgement: '1\\ta'"),
        ("", "names no document that answers a query"),
    ],
)
def test_judgements_that_cannot_be(folder, qrels, message):
    (folder / "qrels" / "train.tsv").write_text(qrels)
    with pytest.raises(A2AError) as caught:
        BeirSource(path=folder).build()
    assert message in str(caught.value)


def test_files_that_are_not_there(folder):
    with pytest.raises(A2AError, match="there is no file .*test.tsv") as caught:
        BeirSource(path=folder, split="test").build()
    assert "there are judgements of train" in str(caught.value)


def test_a_corpus_without_ids(folder):
    (folder / "corpus.jsonl").write_text('{"text": "one"}\n')
    with pytest.raises(A2AError, match="_id"):
        BeirSource(path=folder).build()
