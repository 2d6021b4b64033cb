import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from a2a_classification.classify import ClassifyHead
from a2a_classification.mse import MseLoss
from a2a_classification.regress import RegressHead
from a2a_core.errors import A2AError


def build(**options):
    return MseLoss(head="score", **options).build(RegressHead(size=3))


def judge(module, value, targets):
    return module({"value": value}, targets)["mse"], module.count({}, targets)["mse"]


def measured(size):
    here = torch.rand(size) < 0.7
    return {"value": torch.randn(size, 3) * here[:, None], "here": here}


def test_total_by_count_is_the_mean_of_torch():
    value, targets = torch.randn(20, 3, requires_grad=True), measured(20)
    total, count = judge(build(), value, targets)
    here = targets["here"]
    torch.testing.assert_close(total / count, F.mse_loss(value[here], targets["value"][here]))
    assert count == 3 * here.sum()


def test_samples_gives_the_squared_distance_of_a_sample():
    value, targets = torch.randn(20, 3), measured(20)
    total, count = judge(build(reduction="samples"), value, targets)
    here = targets["here"]
    torch.testing.assert_close(total / count, (value - targets["value"])[here].norm(dim=1).square().mean())


@settings(max_examples=25, deadline=None)
@given(
    here=st.lists(st.booleans(), min_size=1, max_size=10),
    cut=st.integers(0, 10),
    reduction=st.sampled_from(["mean", "samples"]),
    seed=st.integers(0, 99),
)
def test_totals_and_counts_add_up_over_any_split(here, cut, reduction, seed):
    module = build(reduction=reduction)
    value, target = torch.randn(2, len(here), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    targets = {"value": target, "here": torch.tensor(here)}
    whole, count = judge(module, value, targets)
    pieces = [
        judge(module, value[piece], {name: each[piece] for name, each in targets.items()})
        for piece in (slice(0, cut), slice(cut, None))
    ]
    torch.testing.assert_close(sum(total for total, _ in pieces), whole)
    assert sum(part for _, part in pieces) == count


def test_without_targets_it_is_a_zero_in_the_graph():
    value = torch.randn(2, 3, requires_grad=True)
    total, count = judge(build(), value, {"value": torch.zeros(2, 3), "here": torch.zeros(2, dtype=torch.bool)})
    assert total.item() == count.item() == 0
    total.backward()
    assert torch.equal(value.grad, torch.zeros(2, 3))


def test_it_is_computed_in_float32():
    value, targets = torch.randn(20, 3).bfloat16(), measured(20)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = judge(build(), value, targets)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, judge(build(), value.float(), targets)[0])


def test_a_head_that_does_not_fit_is_an_error():
    with pytest.raises(A2AError, match=r"judges a head that predicts numbers \(`regress`\), and `heads.kind` is `classify`"):
        MseLoss(head="kind").build(ClassifyHead(classes=2))
