import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from a2a_classification.accuracy import AccuracyMetric
from a2a_classification.confusion import ConfusionMetric
from a2a_classification.coral import CoralLoss
from a2a_classification.cross_entropy import CrossEntropyLoss
from a2a_classification.ordinal import OrdinalHead
from a2a_core.errors import A2AError
from a2a_core.structures import Fused, Widths

NAMES = ("bad", "poor", "fair", "good")
HEAD = OrdinalHead(classes=NAMES)


def built(names=NAMES, width=6, bias=None):
    module = OrdinalHead(classes=names).build(Widths(width, {})).eval()
    if bias is not None:
        module.bias.data = torch.as_tensor(bias, dtype=torch.float32)
    return module


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=9), st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=20)
)
def test_the_prediction_counts_the_thresholds_that_are_passed(bias, scores):
    """Whatever the thresholds; the paper's rule (section 3.3), and that of every metric for classes."""
    names = tuple(f"rank {number}" for number in range(len(bias) + 1))
    module = built(names, width=1, bias=bias)
    module.layers[-1].weight.data.fill_(1.0)
    outputs = module(Fused(len(scores), pooled=torch.tensor(scores)[:, None]), {})
    cumulative = outputs["cumulative"]
    assert (cumulative.diff(dim=-1) <= 0).all()
    sums = torch.cat([torch.zeros(len(scores), 1), cumulative.cumsum(-1)], -1)
    assert torch.equal(outputs["logits"], sums)
    clear = (cumulative.abs() > 1e-4).all(1)  # beside a large sum a smaller logit is lost in float32
    passed = (cumulative > 0).sum(-1)
    predicted = module.predict(outputs)
    assert [name for name, sure in zip(predicted, clear, strict=True) if sure] == [names[n] for n in passed[clear]]


def test_class_logits_are_the_normalised_product_of_the_binary_probabilities(fused):
    outputs = built()(fused, {})
    above = outputs["cumulative"].double().sigmoid()
    product = torch.stack([above[:, :k].prod(1) * (1 - above[:, k:]).prod(1) for k in range(4)], 1)
    torch.testing.assert_close(
        outputs["logits"].double().softmax(1), product / product.sum(1, keepdim=True), rtol=1e-5, atol=1e-6
    )


def test_metrics_of_classes_judge_what_it_predicts(fused):
    module = built(bias=[0.3, 0.1, -0.2])
    outputs, label = module(fused, {}), torch.tensor([0, 1, 2, 3])
    predicted = [NAMES.index(name) for name in module.predict(outputs)]
    accuracy, confusion = AccuracyMetric(head="x").build(HEAD), ConfusionMetric(head="x").build(HEAD)
    for metric in (accuracy, confusion):
        metric.update(outputs, {"label": label})
    assert accuracy.compute()["accuracy"] == sum(p == y for p, y in zip(predicted, label, strict=True)) / 4
    assert all(confusion.compute()["matrix"][y][p] for y, p in zip(label.tolist(), predicted, strict=True))


def test_all_thresholds_share_one_score(fused):
    module = built()
    assert sum(parameter.numel() for parameter in module.parameters()) == 6 + 3
    cumulative = module(fused, {})["cumulative"]
    torch.testing.assert_close(cumulative.diff(dim=-1), torch.full((4, 2), -1 / 3))


def test_equation_4_of_the_paper():
    cumulative, label = torch.randn(20, 3, dtype=torch.float64), torch.randint(4, (20,))
    label[::5] = -100
    module, targets = CoralLoss(head="x").build(HEAD), {"label": label}
    total, count = module({"cumulative": cumulative}, targets)["coral"], module.count({}, targets)["coral"]
    wanted = 0.0
    for row, rank in zip(cumulative.sigmoid(), label.tolist(), strict=True):
        for k in range(3) if rank >= 0 else ():
            wanted -= row[k].log() if rank > k else (1 - row[k]).log()
    torch.testing.assert_close(total, wanted)
    assert count == (label >= 0).sum()


def test_it_is_cross_entropy_before_normalising():
    """-log of the product of binary probabilities; what cross-entropy adds is the normaliser alone."""
    cumulative, label = torch.randn(1, 3).sort(descending=True).values, torch.tensor([2])
    outputs = {"cumulative": cumulative, "logits": torch.cat([torch.zeros(1, 1), cumulative.cumsum(-1)], -1)}
    coral = CoralLoss(head="x").build(HEAD)(outputs, {"label": label})["coral"]
    entropy = CrossEntropyLoss(head="x").build(HEAD)(outputs, {"label": label})["cross_entropy"]
    normaliser = outputs["logits"].logsumexp(1) - F.softplus(cumulative).sum(1)
    torch.testing.assert_close(entropy, (coral + normaliser).squeeze())


def test_it_learns_ranks():
    torch.manual_seed(0)
    x, module = torch.randn(300, 3), OrdinalHead(classes=4).build(Widths(3, {}))
    score = x @ torch.tensor([1.0, -2.0, 0.5])
    label = torch.bucketize(score, torch.tensor([-2.0, 0.0, 2.0]))
    loss, optimizer = CoralLoss(head="x").build(OrdinalHead(classes=4)), torch.optim.Adam(module.parameters(), 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (loss(module(Fused(300, pooled=x), {}), {"label": label})["coral"] / 300).backward()
        optimizer.step()
    predicted = module(Fused(300, pooled=x), {})["logits"].argmax(1)
    assert (predicted == label).float().mean() > 0.95


def test_ranks_are_named_in_order_or_are_numbers():
    assert OrdinalHead().resolved(lambda _: [3, 10, 1]).classes == ("1", "3", "10")
    assert HEAD.resolved(lambda _: ["good", "bad"]).classes == NAMES
    assert OrdinalHead(classes=3).resolved(lambda _: [0, 1, 2]).classes == ("0", "1", "2")
    with pytest.raises(ValueError, match="`bad`, `good`, have no order of their own: set `classes`"):
        OrdinalHead().resolved(lambda _: ["good", "bad"])


def test_a_fusion_without_pooled_vector_is_an_error():
    with pytest.raises(A2AError, match="the head `ordinal` reads the fusion's pooled vector"):
        HEAD.build(Widths(None, {}))
