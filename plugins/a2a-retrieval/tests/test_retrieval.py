import ir_measures
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, R, Success, nDCG
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_core.report import Curve, Held, Note, Ranking
from a2a_core.structures import Widths
from a2a_core.testing.reference import ReferenceHead
from a2a_retrieval import kept_vectors, scoring
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.multi_vector import MultiVectorHead
from a2a_retrieval.pairs import PairTarget
from a2a_retrieval.retrieval import Retrieval

HEAD = EmbeddingHead(normalise=False)
LATE = MultiVectorHead()
WANTED = {"ndcg@3": nDCG @ 3, "recall@3": R @ 3, "map@3": AP @ 3, "hit_rate@3": Success @ 3}


def build(head=HEAD, **options):
    return Retrieval(head="embedding", **{"at": (3,), **options}).build(head)


def batch(rows, queries, documents):
    """Outputs and targets of rows; a row has the vectors of its query and of its positive where it has these."""
    target = PairTarget({"query": ("query",), "positive": ("positive",)})
    outputs = {}
    for side, known in (("query", queries), ("positive", documents)):
        empty = torch.zeros_like(next(iter(known.values())))
        outputs[side] = torch.stack([known.get(row.get(side), empty) for row in rows])
        here = torch.tensor([side in row for row in rows])
        outputs[f"{side}_mask"] = here[:, None] & (outputs[side] != 0).any(-1) if empty.dim() == 2 else here
    return outputs, target.pad([target(row) for row in rows])


def seen(metric, rows, queries, documents, size=3):
    for start in range(0, len(rows), size):
        metric.update(*batch(rows[start : start + size], queries, documents))
    return metric


def drawn(names, width=2):
    """Small whole numbers: many scores are equal."""
    return {name: torch.randint(-1, 2, (width,)).float() for name in names}


def run_of(queries, documents):
    return {query: {name: float(one @ other) for name, other in documents.items()} for query, one in queries.items()}


def compare(found, prefix, qrels, run):
    expected = ir_measures.calc_aggregate(list(WANTED.values()), qrels, run)
    for name, reference in WANTED.items():
        assert found[prefix + name] == pytest.approx(expected[reference], abs=1e-9), name


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), extra=st.integers(0, 6))
def test_means_are_those_of_ir_measures_on_the_same_run_both_ways(seed, extra):
    torch.manual_seed(seed)
    queries = drawn([f"q{n}" for n in range(5)])
    documents = drawn([f"d{n}" for n in range(7)] + ["é", "z", "Z"])
    corpus = [{"positive": name} for name in list(documents)[:extra]]
    rows = [
        {"query": f"q{n % 5}", "positive": list(documents)[int(torch.randint(10, ()))], "relevant": {f"d{n}": n % 3}}
        for n in range(7)
    ]
    documents = {name: documents[name] for name in documents if any(row.get("positive") == name for row in rows + corpus)}
    qrels = {}
    for row in rows:
        graded = {row["positive"]: 1} | row["relevant"]
        known = qrels.setdefault(row["query"], {})
        known |= {name: max(grade, known.get(name, grade)) for name, grade in graded.items()}

    found = seen(
        build(both_ways=True, measures=("ndcg", "recall", "map", "hit_rate")), rows + corpus, queries, documents
    ).compute()

    compare(found, "", qrels, run_of(queries, documents))
    turned = {name: {query: grades[name] for query, grades in qrels.items() if name in grades} for name in documents}
    compare(found, "reverse/", {name: grades for name, grades in turned.items() if grades}, run_of(documents, queries))
    assert next(iter(found.values())) == found["ndcg@3"]


def test_results_are_named_by_measure_k_direction_and_channels():
    queries, documents = {"q": torch.ones(3)}, {"d": torch.ones(3)}
    metric = build(at=(5, 10), measures=("recall", "mrr"), both_ways=True, dimensions=(2,))
    found = seen(metric, [{"query": "q", "positive": "d"}], queries, documents).compute()
    at = ["recall@10", "recall@5", "mrr@5", "mrr@10"]
    one_way = [*at, "dim2/recall@10", "dim2/mrr@10"]
    assert list(found) == ["own", *one_way, *(f"reverse/{name}" for name in one_way)]
    assert set(found.values()) == {1.0}


def test_vectors_beyond_the_limit_lie_in_a_file_and_give_the_same(monkeypatch):
    queries, documents = ({f"{name}{n}": torch.randn(8) for n in range(40)} for name in "qd")
    rows = [{"query": f"q{n}", "positive": f"d{n}"} for n in range(40)]
    wanted = seen(build(), rows, queries, documents).compute()
    monkeypatch.setattr(kept_vectors, "LIMIT", 256)
    monkeypatch.setattr("a2a_retrieval.retrieval_metric.QUERIES", 7)

    metric = seen(build(), rows, queries, documents)

    assert metric.kept["positive"].rows.file is not None
    assert not metric.kept["positive"].rows.blocks
    assert metric.compute() == wanted
    other = build()
    other.merge(metric.state())
    assert other.compute() == wanted


@pytest.mark.parametrize("normalise", [True, False])
def test_cut_vectors_are_those_of_fewer_channels(normalise):
    head = EmbeddingHead(normalise=normalise)
    queries, documents = ({f"{name}{n}": torch.randn(8) for n in range(30)} for name in "qd")
    rows = [{"query": f"q{n}", "positive": f"d{n}"} for n in range(30)]
    cut = (
        {name: F.normalize(vector[:3], dim=0) if normalise else vector[:3] for name, vector in side.items()}
        for side in (queries, documents)
    )

    found = seen(build(head, dimensions=(3,)), rows, queries, documents).compute()
    fewer = seen(build(head), rows, *cut).compute()

    assert found["dim3/ndcg@3"] == pytest.approx(fewer["ndcg@3"], abs=1e-12)
    assert found["dim3/ndcg@3"] != found["ndcg@3"]


def test_vectors_of_tokens_are_compared_by_maxsim():
    lengths = torch.randint(1, 5, (2, 12)).tolist()
    queries, documents = (
        {f"{name}{n}": F.pad(torch.randn(size, 4), (0, 0, 0, 4 - size)) for n, size in enumerate(sizes)}
        for name, sizes in zip("qd", lengths, strict=True)
    )
    rows = [{"query": f"q{n}", "positive": f"d{n}"} for n in range(12)]
    (one, two), masks = (torch.stack(list(side.values())) for side in (queries, documents)), []
    masks = [(side != 0).any(-1) for side in (one, two)]
    scores = scoring.every(one, masks[0], two, masks[1])

    found = seen(build(LATE), rows, queries, documents).compute()

    assert found["recall@3"] == pytest.approx(
        float((scores.topk(3).indices == torch.arange(12)[:, None]).any(1).float().mean())
    )


def test_an_answer_that_is_no_document_was_not_found_and_is_counted():
    queries, documents = {"q": torch.ones(2)}, {"d": torch.ones(2)}
    metric = seen(build(), [{"query": "q", "positive": "d", "relevant": ["d", "gone"]}], queries, documents)
    found = metric.compute()
    assert found["recall@3"] == 0.5
    assert found["missing"] == 1
    assert any(isinstance(each, Note) and each.text.startswith("1 ") for each in metric.sections())
    with pytest.raises(A2AError, match="of query `q` for one"):
        seen(build(), [{"query": "q", "relevant": ["gone"]}, {"positive": "d"}], queries, documents).compute()


def test_sections_name_the_best_and_the_worst_queries_with_what_they_found():
    queries = {"good": torch.tensor([1.0, 0]), "bad": torch.tensor([0, 1.0])}
    documents = {"a": torch.tensor([1.0, 0]), "b": torch.tensor([0, -1.0])}
    rows = [{"query": "good", "positive": "a"}, {"query": "bad", "positive": "b"}]
    metric = seen(build(at=(1,), measures=("recall",)), rows, queries, documents)

    curve, best, worst = metric.sections()

    assert isinstance(curve, Curve)
    assert curve.lines == {"recall": [(1, 0.5)]}
    assert isinstance(best, Ranking)
    assert isinstance(worst, Ranking)
    (question,) = worst.questions
    assert question.query == Held("query", "bad")
    assert question.value == 0
    assert [(answer.document.id, answer.grade) for answer in question.answers] == [("a", 0)]
    assert question.wanted == [Held("positive", "b")]
    assert best.questions[0].answers[0].document == Held("positive", "a")
    assert best.held({"query": "good", "positive": "a" * 100})["query"] == "good"


def test_refuses_what_it_cannot_measure():
    with pytest.raises(A2AError, match="judges a head that embeds"):
        build(ReferenceHead())
    module = EmbeddingHead().build(Widths(None, {"query": 8, "positive": 8}))
    with pytest.raises(A2AError, match="have 8 channels, and cannot be cut to 9"):
        Retrieval(head="both", dimensions=(8, 9)).refuse(module)
    with pytest.raises(ValueError, match="`at` names 3 more than once"):
        build(at=(3, 3))
    with pytest.raises(ValueError, match="`measures` is empty"):
        build(measures=())
