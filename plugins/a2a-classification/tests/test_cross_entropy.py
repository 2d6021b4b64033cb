import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from a2a_classification.classify import ClassifyHead
from a2a_classification.cross_entropy import CrossEntropyLoss
from a2a_classification.regress import RegressHead
from a2a_core.errors import A2AError

CLASSES = ("a", "b", "c", "d")
WEIGHTS = {"a": 2.0, "c": 0.25, "d": 0.0}
HEAD = ClassifyHead(classes=CLASSES)


def build(**options):
    return CrossEntropyLoss(head="kind", **options).build(HEAD)


def labels(size):
    found = torch.randint(len(CLASSES), (size,))
    found[1::3] = -100
    return {"label": found}


def judge(module, logits, targets):
    return module({"logits": logits}, targets)["cross_entropy"], module.count({}, targets)["cross_entropy"]


@pytest.mark.parametrize("weights", [{}, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_total_by_count_is_the_mean_of_torch(weights, smoothing):
    logits, targets = torch.randn(50, 4, requires_grad=True), labels(50)
    total, count = judge(build(class_weights=weights, label_smoothing=smoothing), logits, targets)
    each = torch.tensor([weights.get(name, 1.0) for name in CLASSES])
    wanted = F.cross_entropy(logits, targets["label"], each, label_smoothing=smoothing)
    torch.testing.assert_close(total / count, wanted)
    (mine,) = torch.autograd.grad(total / count, logits, retain_graph=True)
    (theirs,) = torch.autograd.grad(wanted, logits)
    torch.testing.assert_close(mine, theirs)


def test_the_formula_of_its_docstring():
    logits, targets = torch.randn(20, 4, dtype=torch.float64), labels(20)
    total, count = judge(build(class_weights=WEIGHTS, label_smoothing=0.3, reduction="samples"), logits, targets)
    weight = torch.tensor([2.0, 1.0, 0.25, 0.0], dtype=torch.float64)
    wanted, seen = 0.0, 0
    for row, label in zip(logits.log_softmax(-1), targets["label"], strict=True):
        if label != -100:
            wanted += 0.7 * weight[label] * -row[label] + 0.3 / 4 * (weight * -row).sum()
            seen += 1
    torch.testing.assert_close(total, wanted)
    assert count == seen


@settings(max_examples=40, deadline=None)
@given(
    label=st.lists(st.sampled_from([-100, 0, 1, 2, 3]), min_size=1, max_size=12),
    cuts=st.sets(st.integers(1, 11)),
    weights=st.sampled_from([{}, WEIGHTS]),
    smoothing=st.sampled_from([0.0, 0.1]),
    reduction=st.sampled_from(["mean", "samples"]),
    seed=st.integers(0, 99),
)
def test_totals_and_counts_add_up_over_any_split(label, cuts, weights, smoothing, reduction, seed):
    module = build(class_weights=weights, label_smoothing=smoothing, reduction=reduction)
    logits = torch.randn(len(label), 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits.requires_grad_()
    targets = torch.tensor(label)
    whole, count = judge(module, logits, {"label": targets})
    ends = [*sorted(cut for cut in cuts if cut < len(label)), len(label)]
    pieces = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    parts = [judge(module, logits[piece], {"label": targets[piece]}) for piece in pieces]
    torch.testing.assert_close(sum(total for total, _ in parts), whole)
    assert sum(float(part) for _, part in parts) == pytest.approx(float(count))
    (together,) = torch.autograd.grad(whole, logits)
    (apart,) = torch.autograd.grad(sum(judge(module, logits[piece], {"label": targets[piece]})[0] for piece in pieces), logits)
    torch.testing.assert_close(apart, together)


@pytest.mark.parametrize("options", [{}, {"class_weights": WEIGHTS, "label_smoothing": 0.1}])
def test_without_labels_it_is_a_zero_in_the_graph(options):
    logits = torch.randn(3, 4, requires_grad=True)
    total, count = judge(build(**options), logits, {"label": torch.full((3,), -100)})
    assert total.item() == count.item() == 0
    total.backward()
    assert torch.equal(logits.grad, torch.zeros(3, 4))


def test_it_is_computed_in_float32():
    logits, targets = torch.randn(30, 4), labels(30)
    module = build(class_weights=WEIGHTS)
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = judge(module, logits.bfloat16(), targets)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, judge(module, logits.bfloat16().float(), targets)[0])
    assert judge(build(class_weights=WEIGHTS).bfloat16(), logits.bfloat16(), targets)[0].dtype == torch.float32


def test_weights_are_no_part_of_what_is_saved_and_can_be_refilled():
    module = build(class_weights=WEIGHTS)
    assert module.state_dict() == {}
    with torch.device("meta"):
        empty = build(class_weights=WEIGHTS)
    assert empty.class_weights.is_meta
    empty = empty.to_empty(device="cpu")
    empty.class_weights.fill_(7)
    empty.reset_buffers()
    assert torch.equal(empty.class_weights, torch.tensor([2.0, 1.0, 0.25, 0.0]))
    build().reset_buffers()


@pytest.mark.parametrize(
    ("weights", "head", "message"),
    [
        ({"aa": 1.0}, HEAD, "`class_weights`, head `kind`: the label `aa` is none of the 4 classes; did you mean `a`"),
        (dict.fromkeys(CLASSES, 0.0), HEAD, "every class of head `kind` weigh 0"),
        ({}, RegressHead(), r"judges a head that tells classes apart \(`classify`, `ordinal`\), and `heads.kind` is `regress`"),
    ],
)
def test_a_head_that_does_not_fit_is_an_error(weights, head, message):
    with pytest.raises(A2AError, match=message):
        CrossEntropyLoss(head="kind", class_weights=weights).build(head)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_is_a_number(weight):
    with pytest.raises(ValueError, match="weight of class `a`"):
        CrossEntropyLoss(head="kind", class_weights={"a": weight})
