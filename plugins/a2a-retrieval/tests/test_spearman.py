import math

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from a2a_core.errors import A2AError
from a2a_core.testing.reference import ReferenceHead
from a2a_retrieval import scoring
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.spearman import Spearman


def build(head=None):
    return Spearman(head="embedding").build(head or EmbeddingHead())


def drawn(size):
    """Pairs of which many have equal cosines, and equal scores; the third has no score, the last no positive."""
    query, positive = torch.randint(-1, 2, (2, size, 3)).float() + 0.5
    score = torch.randint(6, (size,)).float()
    score[2] = torch.nan
    here = torch.arange(size) < size - 1
    outputs = {"query": query, "query_mask": torch.ones(size).bool(), "positive": positive, "positive_mask": here}
    return outputs, {"score": score}


def test_correlations_are_those_of_scipy_with_ties():
    outputs, targets = drawn(60)
    kept = [n for n in range(60) if n not in (2, 59)]
    cosines = F.cosine_similarity(outputs["query"], outputs["positive"], dim=-1)[kept]
    assert len(set(cosines.tolist())) < len(kept)
    metric = build()
    for start in (0, 20, 40):
        metric.update(*({name: value[start : start + 20] for name, value in given.items()} for given in (outputs, targets)))
    other = build()
    other.merge(metric.state())
    found = other.compute()
    assert found["spearman"] == pytest.approx(stats.spearmanr(cosines, targets["score"][kept]).statistic, abs=1e-9)
    assert found["pearson"] == pytest.approx(
        stats.pearsonr(cosines.double(), targets["score"][kept].double()).statistic, abs=1e-9
    )


def test_vectors_of_tokens_are_compared_by_maxsim():
    query, positive = torch.randn(2, 9, 4, 3)
    mask = torch.arange(4) < torch.randint(1, 5, (9, 1))
    outputs = {"query": query, "query_mask": mask, "positive": positive, "positive_mask": mask.flip(0)}
    score = torch.rand(9)
    metric = build()
    metric.update(outputs, {"score": score})
    scores = scoring.every(query, mask, positive, mask.flip(0)).diagonal()
    assert metric.compute()["spearman"] == pytest.approx(stats.spearmanr(scores, score).statistic)


def test_nothing_to_compare_is_not_a_number():
    assert math.isnan(build().compute()["spearman"])
    outputs, targets = drawn(5)
    metric = build()
    metric.update(outputs, {"score": torch.full_like(targets["score"], 3.0)})
    assert math.isnan(metric.compute()["spearman"])


def test_refuses_a_head_that_embeds_nothing():
    with pytest.raises(A2AError, match="the metric `spearman` judges a head that embeds"):
        build(ReferenceHead())
