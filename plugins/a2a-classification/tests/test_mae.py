import pytest
import torch
from sklearn.metrics import mean_absolute_error
from torchmetrics.functional import mean_absolute_error as torch_mean_absolute_error

from a2a_classification.classify import ClassifyHead
from a2a_classification.mae import MaeMetric
from a2a_classification.regress import RegressHead
from a2a_core.errors import A2AError

ROWS = [[1.0, 200.0], None, [3.5, -50.0], [4.0, 7.5], None, [-2.0, 0.0]]


@pytest.fixture
def head():
    return RegressHead(size=2).resolved(lambda _: ROWS)


@pytest.fixture
def data(head):
    """Outputs, targets and, in the targets' own units, predictions and truths of the labelled rows."""
    process = head.processor()
    targets = process.pad([process({"value": row}) for row in ROWS])
    outputs = {"value": torch.randn(len(ROWS), 2)}
    predicted = outputs["value"] * torch.tensor(head.std) + torch.tensor(head.mean)
    return outputs, targets, predicted[targets["here"]], torch.tensor([row for row in ROWS if row])


def test_it_is_in_the_targets_own_units(head, data):
    outputs, targets, predicted, truth = data
    metric = MaeMetric(head="score").build(head)
    metric.update(outputs, targets)
    found = metric.compute()
    assert list(found) == ["mae", "per_number"]
    assert found["mae"] == pytest.approx(mean_absolute_error(truth, predicted), rel=1e-5)
    assert found["mae"] == pytest.approx(torch_mean_absolute_error(predicted, truth).item(), rel=1e-5)
    assert found["per_number"] == pytest.approx(
        mean_absolute_error(truth, predicted, multioutput="raw_values").tolist(), rel=1e-5
    )


@pytest.mark.parametrize("cut", range(1, 6))
def test_any_split_and_merge_gives_the_same(head, data, cut):
    outputs, targets, *_ = data
    whole, total = MaeMetric(head="score").build(head), MaeMetric(head="score").build(head)
    whole.update(outputs, targets)
    for rows in (slice(0, cut), slice(cut, None)):
        part = MaeMetric(head="score").build(head)
        part.update({"value": outputs["value"][rows]}, {name: value[rows] for name, value in targets.items()})
        total.merge(part.state())
    assert total.compute()["mae"] == pytest.approx(whole.compute()["mae"], rel=1e-12)


def test_one_number_has_no_list():
    metric = MaeMetric(head="score").build(RegressHead())
    metric.update({"value": torch.tensor([[1.0]])}, {"value": torch.tensor([[3.0]]), "here": torch.tensor([True])})
    assert metric.compute() == {"mae": 2.0}


def test_nothing_is_reported_of_nothing(head, data):
    metric = MaeMetric(head="score").build(head)
    assert metric.compute() == {}
    outputs, targets, *_ = data
    metric.update(outputs, {**targets, "here": torch.zeros(len(ROWS), dtype=torch.bool)})
    assert metric.compute() == {}


def test_a_head_without_numbers_is_an_error():
    assert MaeMetric.higher_is_better is False
    with pytest.raises(A2AError, match="the metric `mae` judges a head that predicts numbers"):
        MaeMetric(head="kind").build(ClassifyHead(classes=("a", "b")))
