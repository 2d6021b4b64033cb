import math

import ir_measures
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_core.errors import A2AError
from a2a_retrieval.measures import measured, measured_by_query

REFERENCES = {
    "ndcg": ir_measures.nDCG,
    "recall": ir_measures.R,
    "precision": ir_measures.P,
    "map": ir_measures.AP,
    "hit_rate": ir_measures.Success,
}
NAMES = st.text("abé9", min_size=1, max_size=2)
QRELS = st.dictionaries(NAMES, st.dictionaries(NAMES, st.integers(0, 3), min_size=1), min_size=1, max_size=5)
SCORES = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.5 + 1e-12])  # ties; the last two are the same to trec_eval
RUN = st.dictionaries(NAMES, st.dictionaries(NAMES, SCORES, min_size=1), max_size=5)


@settings(max_examples=80, deadline=None)
@given(qrels=QRELS, run=RUN, k=st.integers(1, 12))
def test_means_are_those_of_ir_measures_with_ties_too(qrels, run, k):
    wanted = {f"{name}@{k}": reference @ k for name, reference in REFERENCES.items()}
    wanted |= {"ndcg": ir_measures.nDCG, "map": ir_measures.AP, "mrr": ir_measures.RR}
    expected = ir_measures.calc_aggregate(list(wanted.values()), qrels, run)

    found = measured(qrels, run, wanted)

    for name, reference in wanted.items():
        assert found[name] == pytest.approx(expected[reference], abs=1e-9), name


@settings(max_examples=40, deadline=None)
@given(qrels=QRELS, run=RUN)
def test_values_of_queries_are_those_of_trec_eval(qrels, run):
    theirs = {
        "ndcg@5": "ndcg_cut_5",
        "recall@5": "recall_5",
        "precision@5": "P_5",
        "map@5": "map_cut_5",
        "hit_rate@5": "success_5",
    }
    expected = pytrec_eval.RelevanceEvaluator(qrels, {*theirs.values(), "recip_rank"}).evaluate(run)

    found = measured_by_query(qrels, run, [*theirs, "mrr@2"])

    for query, values in expected.items():
        for name, their in theirs.items():
            assert found[name][query] == pytest.approx(values[their], abs=1e-9), (name, query)
        assert found["mrr@2"][query] == (values["recip_rank"] if values["recip_rank"] >= 1 / 2 else 0)


def test_queries_without_judgements_are_left_out_and_those_without_answers_count():
    run = {"a": {"x": 1.0}, "b": {"x": 1.0}, "c": {"x": 1.0}}
    assert measured({"a": {"x": 1}, "b": {}}, run, ["mrr@10"]) == {"mrr@10": 1.0}
    assert measured({"a": {"x": 1}, "b": {"x": 0}, "d": {"x": 1}}, run, ["mrr@10"])["mrr@10"] == pytest.approx(1 / 3)
    assert math.isnan(measured({}, run, ["mrr@10"])["mrr@10"])


@pytest.mark.parametrize("name", ["ndcg@0", "NDCG", "recall@", "f1@10"])
def test_refuses_measures_that_there_are_not(name):
    with pytest.raises(A2AError, match=f"no measure `{name}`"):
        measured({}, {}, [name])
