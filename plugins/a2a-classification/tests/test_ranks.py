import pytest
import torch
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from a2a_classification.classify import ClassifyHead
from a2a_classification.kappa import KappaMetric
from a2a_classification.mae import MaeMetric
from a2a_classification.ordinal import OrdinalHead
from a2a_core.errors import A2AError

RANKS = OrdinalHead(classes=("bad", "poor", "fair", "good", "best"))
NUMBERS = ClassifyHead(classes=("1", "2", "3", "4", "5"))
NAMES = ClassifyHead(classes=("cat", "dog"))


@pytest.fixture
def data():
    """Labels, a few missing, and predictions that are often near."""
    label = torch.randint(5, (200,))
    predicted = (label + torch.randint(-2, 3, (200,))).clamp(0, 4)
    label[::7] = -100
    return label, predicted


def measured(metric, head, data):
    label, predicted = data
    found = metric.build(head)
    found.update({"logits": torch.nn.functional.one_hot(predicted, 5).float()}, {"label": label})
    return found.compute()


def answers(data):
    label, predicted = data
    return label[label >= 0].numpy(), predicted[label >= 0].numpy()


@pytest.mark.parametrize("head", [RANKS, NUMBERS], ids=["ordinal", "numbers"])
@pytest.mark.parametrize("weights", ["quadratic", "linear", "none"])
def test_kappa_is_that_of_sklearn(data, head, weights):
    wanted = cohen_kappa_score(*answers(data), weights=None if weights == "none" else weights, labels=range(5))
    assert measured(KappaMetric(head="x", weights=weights), head, data) == {"kappa": pytest.approx(wanted)}


def test_kappa_of_chance_and_of_perfection():
    label = torch.arange(5).repeat(20)
    assert measured(KappaMetric(head="x"), RANKS, (label, label)) == {"kappa": 1.0}
    assert measured(KappaMetric(head="x"), RANKS, (label, torch.full_like(label, 2))) == {"kappa": 0.0}
    same = torch.full((9,), 3)
    assert measured(KappaMetric(head="x"), RANKS, (same, same)) == {"kappa": 0.0}


@pytest.mark.parametrize("head", [RANKS, NUMBERS], ids=["ordinal", "numbers"])
def test_the_error_of_ranks(data, head):
    assert measured(MaeMetric(head="x"), head, data) == {"mae": pytest.approx(mean_absolute_error(*answers(data)))}


def test_nothing_is_reported_of_nothing():
    nothing = torch.full((3,), -100), torch.zeros(3, dtype=torch.int64)
    for metric in (KappaMetric(head="x"), MaeMetric(head="x")):
        assert measured(metric, RANKS, nothing) == {}


def test_names_have_no_distance():
    with pytest.raises(A2AError, match="needs an order of the classes") as error:
        KappaMetric(head="x").build(NAMES)
    assert 'head `ordinal`, or `weights = "none"`' in str(error.value)
    with pytest.raises(A2AError, match=r"predicts numbers \(`regress`\) or knows an order of its classes \(`ordinal`\)"):
        MaeMetric(head="x").build(NAMES)
    KappaMetric(head="x", weights="none").build(NAMES)
