"""The Predictor."""

import doctest

import pytest
import torch

from a2a_core.errors import A2AError
from a2a_retrieval import Predictor, predictor
from a2a_retrieval.commands.embed import embed

LATE = ('use = "embedding"\nnegatives', 'use = "multi-vector"\nnegatives')
TEXTS = ["a lack of vitamin D", "it is a virus", "rest"]


@pytest.mark.parametrize("late", [False, True])
def test_items_and_rows_become_vectors_and_are_compared_and_found(late, make_run, reference):
    run = make_run(LATE) if late else make_run()
    mine = Predictor(run.folder, device="cpu")
    documents = mine.embed(TEXTS, side="positive")
    queries = mine.embed([{"query": "why?"}, "what helps?"])
    wanted = reference(run, "positive", TEXTS), reference(run, "query", ["why?", "what helps?"])
    for found, each in zip((documents, queries), wanted, strict=True):
        for one, other in zip(found, each, strict=True):
            torch.testing.assert_close(one, other)
    scores = mine.similarity(queries, documents)
    by_hand = [[float((q @ d.T).amax(1).sum() if late else q @ d) for d in wanted[0]] for q in wanted[1]]
    torch.testing.assert_close(scores, torch.tensor(by_hand))
    for corpus in (TEXTS, documents):
        hits = mine.search(["why?", "what helps?"], corpus, k=2)
        assert [[hit.place for hit in each] for each in hits] == scores.topk(2, dim=1).indices.tolist()
        assert hits[0][0].score == pytest.approx(float(scores[0].max()), abs=1e-5)


def test_first_numbers(make_run):
    mine = Predictor(make_run().folder)
    cut = mine.embed(TEXTS, side="positive", dimension=4)
    torch.testing.assert_close(cut, torch.nn.functional.normalize(mine.embed(TEXTS, side="positive")[:, :4], dim=-1))
    assert mine.search(["why?"], cut, k=1)[0][0].score <= 1.0001
    with pytest.raises(A2AError, match="17 numbers are asked for"):
        mine.embed(TEXTS, dimension=17)


def test_files_of_vectors_are_searched(make_run, tmp_path):
    run = make_run()
    embed.main([str(run.folder), str(tmp_path / "corpus.jsonl"), "-o", str(tmp_path / "v.parquet")], standalone_mode=False)
    (hits,) = Predictor(run.folder).search(["why?"], tmp_path / "v.parquet", k=99)
    assert len(hits) == 6
    assert sorted(hit.id for hit in hits) == [f"d{hit}" for hit in range(6)]
    with pytest.raises(A2AError, match="vectors of another model"):
        Predictor(make_run(name="other", seed=2).folder).search(["why?"], tmp_path / "v.parquet")


def test_nothing_is_nothing(make_run):
    mine = Predictor(make_run().folder)
    assert mine.embed([]).shape == (0, 16)
    assert mine.search([], TEXTS) == []
    assert mine.search(["why?"], []) == [[]]


@pytest.mark.parametrize(
    ("items", "side", "message"),
    [
        (["a", " "], "query", "item 1 cannot be embedded: `query` is empty"),
        (["a", 3], "query", "item 1 cannot be embedded"),
        ([{"text": "a"}], "query", "there is nothing in field `query`"),
        ("text", "query", "a list of items is embedded, not one str"),
        (["a"], "document", "there is no side `document`"),
    ],
)
def test_mistakes_are_named(items, side, message, make_run):
    with pytest.raises(A2AError, match=message):
        Predictor(make_run().folder).embed(items, side=side)


def test_the_example_of_the_documentation_runs(make_run, tmp_path):
    run = make_run(name="medquad")
    embed.main(
        [str(run.folder), str(tmp_path / "corpus.jsonl"), "-o", str(tmp_path / "corpus.safetensors")], standalone_mode=False
    )
    examples = doctest.DocTestFinder().find(predictor.Predictor, globs={"Predictor": Predictor})
    results = [doctest.DocTestRunner().run(each) for each in examples if each.examples]
    assert [result.failed for result in results] == [0]
