import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from a2a_classification.balance import rarity
from a2a_classification.classify import ClassifyHead
from a2a_classification.cross_entropy import CrossEntropyLoss
from a2a_classification.focal import FocalLoss
from a2a_classification.regress import RegressHead
from a2a_core.errors import A2AError

HEAD = ClassifyHead(field="kind", classes=("a", "b", "c"))
ROWS = ["a"] * 6 + ["b"] * 3 + ["c", None, "nonsense"]
COUNTS = st.lists(st.integers(0, 10**7), min_size=2, max_size=8).filter(any)


@given(COUNTS, st.sampled_from(["effective-number", "inverse-frequency"]), st.floats(0, 0.99999))
def test_weights_add_up_to_the_number_of_classes_and_rare_ones_weigh_more(counts, balance, beta):
    weights = rarity(counts, balance, beta)
    assert sum(weights) == pytest.approx(len(counts), rel=1e-9)
    assert all(weight == 1 for weight, count in zip(weights, counts, strict=True) if not count)
    seen = sorted((count, weight) for count, weight in zip(counts, weights, strict=True) if count)
    assert all(before[1] >= after[1] * (1 - 1e-9) for before, after in itertools.pairwise(seen))


@pytest.mark.parametrize("beta", [0.9, 0.99, 0.999, 0.9999])
def test_the_papers_formula(beta):
    counts = [5000, 600, 30, 1]
    raw = [(1 - beta) / (1 - beta**count) for count in counts]
    wanted = [each / sum(raw) * len(counts) for each in raw]
    assert rarity(counts, "effective-number", beta) == pytest.approx(wanted, rel=1e-9)


def test_the_limits_of_beta():
    counts = [50, 7, 3]
    assert rarity(counts, "effective-number", 0.0) == [1, 1, 1]
    nearly = rarity(counts, "effective-number", 1 - 1e-10)
    assert nearly == pytest.approx(rarity(counts, "inverse-frequency", 0.5), rel=1e-6)


def test_inverse_frequency_is_that_of_sklearn_but_for_its_scale():
    loss = CrossEntropyLoss(head="kind", balance="inverse-frequency").resolved(HEAD, lambda _: ROWS)
    theirs = compute_class_weight("balanced", classes=np.array(list("abc")), y=ROWS[:10])
    mine = [loss.class_weights[name] for name in "abc"]
    assert [each / mine[0] for each in mine] == pytest.approx((theirs / theirs[0]).tolist())


@pytest.mark.parametrize("kind", [CrossEntropyLoss, FocalLoss])
def test_weights_are_learned_once_and_kept(kind):
    asked = []
    loss = kind(head="kind", balance="effective-number", beta=0.9)
    found = loss.resolved(HEAD, lambda field: asked.append(field) or ROWS)
    assert asked == ["kind"]
    assert list(found.class_weights.values()) == pytest.approx(rarity([6, 3, 1], "effective-number", 0.9))
    assert found.resolved(HEAD, pytest.fail) == found
    found.build(HEAD)
    with pytest.raises(A2AError, match="has seen none yet"):
        loss.build(HEAD)


def test_with_samples_it_is_the_papers_class_balanced_softmax_loss():
    loss = CrossEntropyLoss(head="kind", balance="effective-number", reduction="samples").resolved(HEAD, lambda _: ROWS)
    module, logits, label = loss.build(HEAD), torch.randn(9, 3, dtype=torch.float64), torch.tensor([0, 0, 1, 2] * 2 + [-100])
    targets = {"label": label}
    found = module({"logits": logits}, targets)["cross_entropy"] / module.count({}, targets)["cross_entropy"]
    rare = [(1 - 0.999) / (1 - 0.999**count) for count in (6, 3, 1)]
    wanted = [
        -3 * rare[y] / sum(rare) * math.log(math.exp(row[y]) / sum(map(math.exp, row)))
        for row, y in zip(logits.tolist(), label.tolist(), strict=True)
        if y >= 0
    ]
    assert found.item() == pytest.approx(sum(wanted) / 8, rel=1e-6)


def test_without_balance_the_rows_are_not_asked():
    loss = CrossEntropyLoss(head="kind")
    assert loss.resolved(HEAD, pytest.fail) is loss


def test_what_cannot_be_counted_is_an_error():
    loss = CrossEntropyLoss(head="kind", balance="effective-number")
    with pytest.raises(ValueError, match="no training row has one"):
        loss.resolved(HEAD, lambda _: [None, "nonsense"])
    with pytest.raises(A2AError, match="judges a head that tells classes apart"):
        loss.resolved(RegressHead(), lambda _: [1.0])
