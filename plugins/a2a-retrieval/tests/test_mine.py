"""`a2a mine`."""

import json
import sys

import pytest
import torch

from a2a_core.errors import A2AError
from a2a_retrieval.commands.mine import mine
from a2a_retrieval.mining import Rules

LATE = ('use = "embedding"\nnegatives', 'use = "multi-vector"\nnegatives')


def called(*arguments):
    mine.main([str(each) for each in arguments], standalone_mode=False)


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def ranked(reference, run, query, documents, late=False):
    """Scores and texts, the best first, of vectors made one by one."""
    (asked,) = reference(run, "query", [query])
    given = reference(run, "positive", documents)
    scores = [float((asked @ each.T).amax(1).sum() if late else asked @ each) for each in given]
    return sorted(zip(scores, documents, strict=True), reverse=True)


@pytest.mark.parametrize("engine", ["faiss", "torch"])
def test_the_best_that_are_no_answers(engine, make_run, reference, tmp_path, capsys):
    """Of the positives of the rows that the run was trained on; rows come out as they went in."""
    run = make_run()
    called(run.folder, "-o", tmp_path / "mined.jsonl", "--negatives", 2, "--scores", "--engine", engine)
    found, given = rows_of(tmp_path / "mined.jsonl"), rows_of(tmp_path / "train.jsonl")
    documents = [row["positive"] for row in given]
    for mined, row in zip(found, given, strict=True):
        assert {name: mined[name] for name in row} == row
        scores = ranked(reference, run, row["query"], documents)
        wanted = [(score, text) for score, text in scores if text != row["positive"]][:2]
        assert mined["negatives"] == [text for _, text in wanted]
        assert mined["negative_ids"] == [given[documents.index(text)]["positive_id"] for _, text in wanted]
        positive = next(score for score, text in scores if text == row["positive"])
        assert mined["teacher_scores"] == pytest.approx([positive, *(score for score, _ in wanted)], abs=1e-5)
    assert engine in capsys.readouterr().err


def test_faiss_and_torch_find_the_same(make_run, tmp_path):
    run = make_run()
    words = [
        "a",
        "cold",
        "old",
        "virus",
        "lack",
        "of",
        "rest",
        "and",
        "drink",
        "week",
        "wound",
        "nobody",
        "knows",
        "physician",
        "well",
    ]
    generator = torch.Generator().manual_seed(3)
    picks = torch.randint(len(words), (90, 2, 5), generator=generator).tolist()
    rows = [
        {f: " ".join(words[w] for w in pick) for f, pick in zip(("query", "positive"), both, strict=True)} for both in picks
    ]
    (tmp_path / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for engine in ("faiss", "torch", "auto"):
        called(run.folder, "--data", "many.jsonl", "-o", f"{engine}.jsonl", "--range", "3:20", "--scores", "--engine", engine)
    assert (tmp_path / "faiss.jsonl").read_text() == (tmp_path / "torch.jsonl").read_text()
    assert (tmp_path / "auto.jsonl").read_text() == (tmp_path / "torch.jsonl").read_text()


def test_a_corpus_and_late_interaction(make_run, reference, tmp_path):
    run = make_run(LATE)
    called(run.folder, "--corpus", "corpus.jsonl", "-o", "mined.jsonl", "--negatives", 9)
    documents = {row["id"]: row["positive"] for row in rows_of(tmp_path / "corpus.jsonl")}
    for row in rows_of(tmp_path / "mined.jsonl"):
        wanted = [
            t for _, t in ranked(reference, run, row["query"], list(documents.values()), late=True) if t != row["positive"]
        ]
        assert row["negatives"] == wanted
        assert [documents[name] for name in row["negative_ids"]] == wanted
    with pytest.raises(A2AError, match="faiss finds one vector a document"):
        called(run.folder, "-o", "mined.jsonl", "--engine", "faiss")


def test_answers_are_known_by_id_and_by_content_whichever_row_says_so(make_run, tmp_path):
    """Of one query two positives; of another one that `relevant` names; a document twice under different ids."""
    rows = [
        {"query_id": "q", "query": "why?", "positive": "nobody knows"},
        {"query_id": "q", "query": "why?", "positive": "an old wound"},
        {"query": "what?", "positive": "it is a virus", "positive_id": "d1", "relevant": {"d2": 1, "d3": 0}},
    ]
    (tmp_path / "some.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(corpus.read_text() + '{"id": "d9", "positive": "nobody knows"}\n')
    called(make_run().folder, "--data", "some.jsonl", "--corpus", corpus, "-o", "mined.jsonl", "--negatives", 9)
    found = [set(row["negative_ids"]) for row in rows_of(tmp_path / "mined.jsonl")]
    assert found == [{"d0", "d1", "d2", "d5"}, {"d0", "d1", "d2", "d5"}, {"d0", "d3", "d4", "d5"}]


def test_ranks_margins_and_chance():
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    assert Rules(negatives=2).choose(scores, 0.9, 0) == [0, 1]
    assert Rules(negatives=2, start=1, stop=4).choose(scores, 0.9, 0) == [1, 2]
    assert Rules(negatives=9, start=1, stop=4).choose(scores, 0.9, 0) == [1, 2, 3]
    assert Rules(negatives=2, margin=0.25).choose(scores, 0.9, 0) == [3, 4]
    assert Rules(negatives=1, relative_margin=0.95).choose(scores, 0.9, 0) == [1]
    assert Rules(negatives=1, relative_margin=0.95).choose([-0.2, -0.22], -0.2, 0) == [1]  # 5 % lower, not higher
    chance = Rules(negatives=3, sample="random", seed=1)
    drawn = [chance.choose(scores, 0.9, number) for number in range(20)]
    assert drawn == [chance.choose(scores, 0.9, number) for number in range(20)]
    assert all(each == sorted(set(each)) and len(each) == 3 for each in drawn)
    assert {place for each in drawn for place in each} == set(range(6))
    assert drawn != [chance._replace(seed=2).choose(scores, 0.9, number) for number in range(20)]


def test_rows_with_too_few_are_counted_and_bad_ones_named(make_run, tmp_path, capsys):
    rows = tmp_path / "train.jsonl"
    bad = ['{"query": "", "positive": "x"}', '{"query": "x"}', '{"query": "a", "positive": "b", "negatives": ["b"]}']
    run = make_run()
    rows = tmp_path / "more.jsonl"
    rows.write_text((tmp_path / "train.jsonl").read_text() + "\n".join(bad) + "\n")
    called(run.folder, "--data", rows, "-o", "mined.jsonl", "--negatives", 5)
    said = capsys.readouterr().err
    assert "3 rows without negatives: they cannot be read:" in said
    for line in ("more.jsonl:5: `query` is empty", "more.jsonl:6: there is nothing in field `positive`", "more.jsonl:7"):
        assert line in said
    assert "4 of them got fewer than 5 negatives, 0 none" not in said
    assert "got fewer than 5 negatives" not in said or "0 none" in said
    assert [json.loads(each) for each in bad] == rows_of(tmp_path / "mined.jsonl")[4:]
    called(run.folder, "-o", "mined.jsonl", "--negatives", 5, "--margin", 3)
    assert "4 of them got fewer than 5 negatives, 4 none" in capsys.readouterr().err


def test_negatives_that_are_there_are_not_lost_unasked(make_run, tmp_path):
    run = make_run()
    rows = tmp_path / "has.jsonl"
    rows.write_text('{"query": "a", "positive": "b", "negatives": ["c"]}\n{"query": "d", "positive": "e"}\n')
    with pytest.raises(A2AError, match=r"has.jsonl:1 has `negatives` already(.|\n)*`--replace`"):
        called(run.folder, "--data", rows, "-o", "mined.jsonl")
    assert not (tmp_path / "mined.jsonl").exists()
    called(run.folder, "--data", rows, "-o", "mined.jsonl", "--replace")
    assert [row["negatives"] for row in rows_of(tmp_path / "mined.jsonl")] == [["e"], ["b"]]


def test_without_faiss(make_run, monkeypatch, capsys):
    run = make_run()
    monkeypatch.setitem(sys.modules, "faiss", None)
    called(run.folder, "-o", "mined.jsonl")
    assert "searched by torch" in capsys.readouterr().err
    with pytest.raises(A2AError, match="faiss is not installed"):
        called(run.folder, "-o", "mined.jsonl", "--engine", "faiss")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "gone.jsonl"), "there is no file gone.jsonl"),
        (("--data", "blank.jsonl"), "no row has a positive: there are no rows"),
        (("--corpus", "blank.jsonl"), "the corpus has no documents"),
        (("--corpus", "hollow.jsonl"), "hollow.jsonl:1, a document of the corpus, cannot be read: `positive` is empty"),
        (("--data", "queries.jsonl"), "no row has a positive: there is nothing in field `positive`"),
        (("--data", "corpus.jsonl"), "no row has a query and a positive: there is nothing in field `query`"),
    ],
)
def test_mistakes_are_named(arguments, message, make_run, tmp_path):
    (tmp_path / "blank.jsonl").write_text("\n")
    (tmp_path / "hollow.jsonl").write_text('{"positive": ""}\n')
    with pytest.raises(A2AError, match=message):
        called(make_run().folder, *arguments, "-o", "mined.jsonl")
    assert not list(tmp_path.glob("*mined.jsonl*"))
