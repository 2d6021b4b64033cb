import pytest
import torch
from torch.nn import functional as F

from a2a_classification.binary_cross_entropy import BinaryCrossEntropyLoss
from a2a_classification.multi_label import MultiLabelHead
from a2a_core.errors import A2AError

HEAD = MultiLabelHead(field="tags", classes=("a", "b", "c"))
WEIGHTS = {"class_weights": {"a": 2.0, "c": 0.5}, "pos_weights": {"b": 3.0}}


def build(**options):
    return BinaryCrossEntropyLoss(head="tags", **options).build(HEAD)


def judge(module, logits, targets):
    return module({"logits": logits}, targets)["binary_cross_entropy"], module.count({}, targets)["binary_cross_entropy"]


def drawn(size, known=1.0):
    here = torch.rand(size, 3) < known
    return {"labels": torch.randint(2, (size, 3)).float() * here, "known": here}


@pytest.mark.parametrize("weights", [{}, WEIGHTS], ids=["plain", "weighted"])
def test_total_by_count_is_the_mean_of_torch(weights):
    logits, targets = torch.randn(40, 3, requires_grad=True), drawn(40)
    total, count = judge(build(**weights), logits, targets)
    weight, positive = torch.tensor([2.0, 1.0, 0.5]), torch.tensor([1.0, 3.0, 1.0])
    keywords = {"weight": weight, "pos_weight": positive} if weights else {}
    wanted = F.binary_cross_entropy_with_logits(logits, targets["labels"], **keywords)
    torch.testing.assert_close(total / count, wanted)
    (mine,) = torch.autograd.grad(total / count, logits, retain_graph=True)
    (theirs,) = torch.autograd.grad(wanted, logits)
    torch.testing.assert_close(mine, theirs)


def test_the_formula_of_its_docstring_over_what_is_known():
    logits, targets = torch.randn(30, 3, dtype=torch.float64), drawn(30, known=0.6)
    module = build(label_smoothing=0.2, reduction="samples", **WEIGHTS)
    total, count = judge(module, logits, targets)
    p, wanted = logits.sigmoid(), 0.0
    for row in range(30):
        for c, (w, v) in enumerate(((2.0, 1.0), (1.0, 3.0), (0.5, 1.0))):
            y = 0.8 * targets["labels"][row, c] + 0.1
            loss = -w * (v * y * p[row, c].log() + (1 - y) * (1 - p[row, c]).log())
            wanted += loss * targets["known"][row, c]
    torch.testing.assert_close(total, wanted.double())
    assert count == targets["known"].any(1).sum()
    assert judge(build(), logits, targets)[1] == targets["known"].sum()


def test_what_is_not_known_gets_no_gradient_whatever_the_logits():
    logits, targets = torch.full((4, 3), torch.inf), drawn(4, known=0.0)
    logits.requires_grad_()
    total, count = judge(build(**WEIGHTS), logits, targets)
    assert total.item() == count.item() == 0
    total.backward()
    assert torch.equal(logits.grad, torch.zeros(4, 3))


ROWS = [["a"], ["a", "b"], {"a": 1, "b": 0}, [], None, ["nonsense"]]


def test_positive_weights_are_learned_once_and_kept():
    loss = BinaryCrossEntropyLoss(head="tags", balance_positives=True).resolved(HEAD, lambda _: ROWS)
    assert loss.pos_weights == {"a": 1 / 3, "b": 3.0, "c": 1.0}  # a row says nothing of c; three say no, none says yes
    assert loss.resolved(HEAD, pytest.fail) == loss
    loss.build(HEAD)
    with pytest.raises(A2AError, match="has seen none yet"):
        BinaryCrossEntropyLoss(head="tags", balance_positives=True).build(HEAD)


def test_balance_counts_the_rows_that_have_a_label():
    loss = BinaryCrossEntropyLoss(head="tags", balance="inverse-frequency").resolved(HEAD, lambda _: ROWS)
    assert loss.class_weights == pytest.approx({"a": 0.5, "b": 1.5, "c": 1.0})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pos_weights": {"a": 1.0}, "balance_positives": True}, "both say what the positives weigh"),
        ({"pos_weights": {"a": -1.0}}, "weight of class `a`"),
        ({"class_weights": {"a": 1.0}, "balance": "inverse-frequency"}, "both say what the classes weigh"),
    ],
)
def test_what_contradicts_itself_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        BinaryCrossEntropyLoss(head="tags", **options)


def test_a_label_that_the_head_has_not_is_an_error():
    with pytest.raises(A2AError, match="`pos_weights`, head `tags`: the label `aa` is none of the 3 classes"):
        build(pos_weights={"aa": 1.0})
