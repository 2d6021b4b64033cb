import pytest
import torch
import torchmetrics.functional.classification as reference
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, hamming_loss

from a2a_classification.average_precision import AveragePrecisionMetric
from a2a_classification.exact_match import ExactMatchMetric
from a2a_classification.f1 import F1Metric
from a2a_classification.multi_label import MultiLabelHead

NAMES = ("a", "b", "c", "d")
HEAD = MultiLabelHead(classes=NAMES, threshold=0.4)


@pytest.fixture
def data():
    """Logits, labels, all known; label d is rare."""
    logits = torch.randn(300, 4)
    labels = (logits + 1.5 * torch.randn(300, 4) > torch.tensor([0.0, 0.5, 1.0, 3.0])).float()
    return logits, labels, torch.ones(300, 4, dtype=torch.bool)


def measured(metric, data, head=HEAD):
    logits, labels, known = data
    total = metric.build(head)
    for rows in torch.arange(len(labels)).split(37):
        part = metric.build(head)
        part.update({"logits": logits[rows]}, {"labels": labels[rows], "known": known[rows]})
        total.merge(part.state())
    return total.compute()


def answers(data):
    return data[1].int().numpy(), (data[0].sigmoid() >= 0.4).int().numpy()


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1(data, average):
    found = measured(F1Metric(head="x", average=average), data)
    assert found["f1"] == pytest.approx(f1_score(*answers(data), average=average))
    wanted = reference.multilabel_f1_score(data[0].sigmoid(), data[1].int(), 4, average=average, threshold=0.4)
    assert found["f1"] == pytest.approx(wanted.item(), rel=1e-5)
    each = f1_score(*answers(data), average=None)
    assert [row[3] for row in found["per_class"]] == pytest.approx(each.tolist())


def test_a_label_that_nobody_names_is_no_part_of_the_macro_average(data):
    logits, labels, _known = data
    logits[:, 1], labels[:, 1] = -9, 0
    truth, predicted = answers(data)
    wanted = f1_score(truth[:, [0, 2, 3]], predicted[:, [0, 2, 3]], average="macro")
    assert measured(F1Metric(head="x"), data)["f1"] == pytest.approx(wanted)


def test_exact_match_and_hamming_loss(data):
    found = measured(ExactMatchMetric(head="x"), data)
    assert list(found) == ["exact_match", "hamming_loss"]
    assert found["exact_match"] == pytest.approx(accuracy_score(*answers(data)))
    assert found["hamming_loss"] == pytest.approx(hamming_loss(*answers(data)))


@pytest.mark.parametrize("thresholds", [2, 5, 200])
def test_average_precision_is_that_of_torchmetrics(data, thresholds):
    found = measured(AveragePrecisionMetric(head="x", thresholds=thresholds), data)
    scores, labels = data[0].sigmoid(), data[1].int()
    wanted = reference.multilabel_average_precision(scores, labels, 4, average=None, thresholds=thresholds)
    assert [row[1] for row in found["per_class"]] == pytest.approx(wanted.tolist(), rel=1e-5)
    assert found["average_precision"] == pytest.approx(wanted.mean().item(), rel=1e-5)
    assert [row[2] for row in found["per_class"]] == labels.sum(0).tolist()


def test_many_thresholds_give_the_exact_average_precision(data):
    found = measured(AveragePrecisionMetric(head="x", thresholds=20_000), data)
    wanted = average_precision_score(data[1].numpy(), data[0].sigmoid().numpy(), average="macro")
    assert found["average_precision"] == pytest.approx(wanted, abs=2e-3)


def test_labels_that_never_apply_have_no_precision(data):
    logits, labels, known = data
    labels[:, 3] = 0
    found = measured(AveragePrecisionMetric(head="x"), data)
    wanted = reference.multilabel_average_precision(logits[:, :3].sigmoid(), labels[:, :3].int(), 3, thresholds=200)
    assert found["average_precision"] == pytest.approx(wanted.item(), rel=1e-5)
    assert measured(AveragePrecisionMetric(head="x"), (logits, 0 * labels, known)) == {}


METRICS = [F1Metric(head="x"), ExactMatchMetric(head="x"), AveragePrecisionMetric(head="x")]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_what_is_not_known_is_not_judged(metric, data):
    """A row that says something of two labels is judged like a row of a head with these two."""
    logits, labels, known = data
    known[:, 2:], labels[:, 2:] = False, 0
    two = MultiLabelHead(classes=NAMES[:2], threshold=0.4)
    wanted = measured(metric, (logits[:, :2], labels[:, :2], known[:, :2]), two)
    found = measured(metric, data)
    for name in wanted.keys() - {"per_class"}:
        assert found[name] == pytest.approx(wanted[name])


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_nothing_is_reported_of_nothing(metric, data):
    assert metric.build(HEAD).compute() == {}
    assert measured(metric, (data[0], data[1] * 0, ~data[2])) == {}


def test_the_metric_judges_what_the_head_predicts(fused):
    from a2a_core.structures import Widths

    module = HEAD.build(Widths(6, {}))
    outputs = module(fused, {})
    labels = torch.tensor([[float(name in chosen) for name in NAMES] for chosen in module.predict(outputs)])
    targets = {"labels": labels, "known": torch.ones(4, 4, dtype=torch.bool)}
    metric = ExactMatchMetric(head="x").build(HEAD)
    metric.update(outputs, targets)
    assert metric.compute() == {"exact_match": 1.0, "hamming_loss": 0.0}
