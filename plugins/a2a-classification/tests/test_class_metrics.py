import pytest
import torch
import torchmetrics.functional.classification as reference
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from a2a_classification.accuracy import AccuracyMetric
from a2a_classification.classify import ClassifyHead
from a2a_classification.confusion import ConfusionMetric
from a2a_classification.f1 import F1Metric
from a2a_classification.regress import RegressHead
from a2a_core.errors import A2AError

CLASSES = 5
HEAD = ClassifyHead(classes=CLASSES)


@pytest.fixture(params=["all", "one never", "few"])
def data(request):
    """Logits and labels, some missing; class 4 may be neither label nor prediction."""
    size = 6 if request.param == "few" else 200
    logits, label = torch.randn(size, CLASSES), torch.randint(CLASSES, (size,))
    if request.param == "one never":
        logits[:, 4], label[label == 4] = -9, 0
    label[::4] = -100
    return logits, label


def measured(metric, data, split=()):
    logits, label = data
    total = metric.build(HEAD)
    for start, end in zip([0, *split], [*split, len(label)], strict=True):
        part = metric.build(HEAD)
        for rows in torch.arange(start, end).split(7):
            part.update({"logits": logits[rows]}, {"label": label[rows]})
        total.merge(part.state())
    return total.compute()


def answers(data):
    logits, label = data
    here = label != -100
    return label[here].numpy(), logits.argmax(-1)[here].numpy()


METRICS = [AccuracyMetric(head="x"), AccuracyMetric(head="x", top_k=3), F1Metric(head="x"), ConfusionMetric(head="x")]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_any_split_and_merge_gives_the_same(metric, data):
    wanted = measured(metric, data)
    for split in ((1,), (2, 3, 5), (4, 4)):
        assert measured(metric, data, split) == wanted


def test_accuracy(data):
    assert measured(AccuracyMetric(head="x"), data) == {"accuracy": accuracy_score(*answers(data))}


@pytest.mark.parametrize("top_k", [2, 3])
def test_accuracy_of_the_likeliest(data, top_k):
    wanted = reference.multiclass_accuracy(*data, num_classes=CLASSES, top_k=top_k, average="micro", ignore_index=-100)
    assert measured(AccuracyMetric(head="x", top_k=top_k), data)["accuracy"] == pytest.approx(wanted.item())


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1(data, average):
    found = measured(F1Metric(head="x", average=average), data)
    assert next(iter(found)) == "f1"
    assert found["f1"] == pytest.approx(f1_score(*answers(data), average=average, zero_division=0))
    wanted = reference.multiclass_f1_score(*data, num_classes=CLASSES, average=average, ignore_index=-100)
    assert found["f1"] == pytest.approx(wanted.item(), rel=1e-6)


def test_f1_of_each_class(data):
    names, *found = zip(*measured(F1Metric(head="x"), data)["per_class"], strict=True)
    assert names == HEAD.class_names
    wanted = precision_recall_fscore_support(*answers(data), labels=range(CLASSES), zero_division=0)
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine == pytest.approx(theirs.tolist())


def test_confusion(data):
    found = measured(ConfusionMetric(head="x"), data)
    assert found["matrix"] == confusion_matrix(*answers(data), labels=range(CLASSES)).tolist()
    assert found["classes"] == list(HEAD.class_names)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_nothing_is_reported_of_nothing(metric):
    assert metric.build(HEAD).compute() == {}
    assert measured(metric, (torch.randn(3, CLASSES), torch.full((3,), -100))) == {}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_head_without_classes_is_an_error(metric):
    with pytest.raises(A2AError, match=f"the metric `{metric.name}` judges a head that tells classes apart"):
        metric.build(RegressHead())


def test_a_top_k_that_is_always_right_is_an_error():
    with pytest.raises(A2AError, match="`top_k = 5` of 5 classes is always right"):
        AccuracyMetric(head="x", top_k=5).build(HEAD)


def test_a_table_of_too_many_classes_is_an_error():
    with pytest.raises(A2AError, match="a table of 1001 x 1001 classes is too large"):
        ConfusionMetric(head="x").build(ClassifyHead(classes=1001))
