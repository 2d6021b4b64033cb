import pytest
import torch
from torch.nn import functional as F

from a2a_classification.binary_cross_entropy import BinaryCrossEntropyLoss
from a2a_classification.classify import ClassifyHead
from a2a_classification.cross_entropy import CrossEntropyLoss
from a2a_classification.focal import FocalLoss
from a2a_classification.multi_label import MultiLabelHead
from a2a_core.errors import A2AError
from a2a_core.testing import checks

CLASSES, LABELS = ClassifyHead(classes=("a", "b", "c")), MultiLabelHead(classes=("a", "b", "c"))
WEIGHTS = {"a": 2.0, "c": 0.5}
GAMMAS = [0.0, 0.5, 1.0, 2.0, 5.0]


def judge(module, logits, targets):
    return module({"logits": logits}, targets)["focal"], module.count({}, targets)["focal"]


def sets(size, known=0.7):
    here = torch.rand(size, 3) < known
    return {"labels": torch.randint(2, (size, 3)).float() * here, "known": here}


@pytest.mark.parametrize("gamma", GAMMAS)
def test_equation_5_for_classes(gamma):
    logits, label = torch.randn(30, 3, dtype=torch.float64), torch.randint(3, (30,))
    label[::4] = -100
    total, count = judge(FocalLoss(head="x", gamma=gamma, class_weights=WEIGHTS).build(CLASSES), logits, {"label": label})
    weight, p, wanted = [2.0, 1.0, 0.5], logits.softmax(-1), []
    for row, y in zip(p.tolist(), label.tolist(), strict=True):
        if y >= 0:
            wanted.append(-weight[y] * (1 - row[y]) ** gamma * torch.tensor(row[y], dtype=torch.float64).log().item())
    assert total.item() == pytest.approx(sum(wanted), rel=1e-9)
    assert count == len(wanted)


@pytest.mark.parametrize("alpha", [None, 0.25, 0.8])
@pytest.mark.parametrize("gamma", GAMMAS)
def test_labels_are_as_in_torchvision(gamma, alpha):
    """torchvision.ops.sigmoid_focal_loss, reduction "mean", over what is known."""
    logits, targets = torch.randn(30, 3, dtype=torch.float64), sets(30)
    total, count = judge(FocalLoss(head="x", gamma=gamma, alpha=alpha).build(LABELS), logits, targets)
    y = targets["labels"].double()
    p = torch.sigmoid(logits)
    p_t = p * y + (1 - p) * (1 - y)
    wanted = F.binary_cross_entropy_with_logits(logits, y, reduction="none") * (1 - p_t) ** gamma
    if alpha is not None:
        wanted = (alpha * y + (1 - alpha) * (1 - y)) * wanted
    torch.testing.assert_close(total / count, wanted[targets["known"]].mean())


def test_without_gamma_it_is_cross_entropy():
    logits, label, targets = torch.randn(20, 3), {"label": torch.randint(3, (20,))}, sets(20)
    plain = CrossEntropyLoss(head="x", class_weights=WEIGHTS, reduction="samples").build(CLASSES)
    focal = FocalLoss(head="x", gamma=0.0, class_weights=WEIGHTS)
    torch.testing.assert_close(judge(focal.build(CLASSES), logits, label)[0], plain({"logits": logits}, label)["cross_entropy"])
    binary = BinaryCrossEntropyLoss(head="x", class_weights=WEIGHTS).build(LABELS)
    wanted = binary({"logits": logits}, targets)["binary_cross_entropy"]
    torch.testing.assert_close(judge(focal.build(LABELS), logits, targets)[0], wanted)


def test_samples_are_counted_on_demand():
    targets = sets(20, known=0.3)
    assert judge(FocalLoss(head="x").build(LABELS), torch.randn(20, 3), targets)[1] == targets["known"].sum()
    module = FocalLoss(head="x", reduction="samples").build(LABELS)
    assert judge(module, torch.randn(20, 3), targets)[1] == targets["known"].any(1).sum()


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("size", [1e3, 1e30])
def test_gradients_are_finite_where_it_is_certain(gamma, size):
    for head, targets in (
        (CLASSES, {"label": torch.tensor([0, 1])}),
        (LABELS, {"labels": torch.tensor([[1.0, 0, 0], [0, 0, 1]]), "known": torch.ones(2, 3, dtype=torch.bool)}),
    ):
        logits = (torch.tensor([[1.0, -1, -1], [1, -1, 0]]) * size).requires_grad_()
        total, _ = judge(FocalLoss(head="x", gamma=gamma).build(head), logits, targets)
        total.backward()
        assert total.isfinite()
        assert logits.grad.isfinite().all()


def test_alpha_is_for_labels():
    with pytest.raises(A2AError, match="`alpha` weighs labels that apply") as error:
        FocalLoss(head="x", alpha=0.25).build(CLASSES)
    assert "`class_weights` or `balance`" in str(error.value)


class OfLabels(FocalLoss):
    """The kit's invariants with a head of labels."""

    def examples(self, size):
        return BinaryCrossEntropyLoss(head="x").examples(size)


RULES = [
    each for each in checks(OfLabels(head="x", alpha=0.25, class_weights={"cat": 2.0})) if each.name != "imports_nothing_heavy"
]
"""This module imports torch, the plugin's own does not."""


@pytest.mark.parametrize("check", RULES, ids=str)
def test_it_keeps_the_rules_with_labels_too(check):
    check()
