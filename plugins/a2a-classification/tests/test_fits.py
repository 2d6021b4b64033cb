"""Every loss and every metric of this distribution with every head: it judges it, or says which heads it judges."""

import re

import pytest
import torch

from a2a_classification.fits import QUALITIES, has, judges_of
from a2a_core.errors import A2AError
from a2a_core.plugins import Catalog
from a2a_core.structures import Fused, Widths

CATALOG = Catalog.installed(frozenset({"a2a-classification"}))
(PLUGIN,) = [plugin for plugin in CATALOG.plugins if plugin.dist == "a2a-classification"]
HEADS, LOSSES, METRICS = (list(PLUGIN.offers[kind]) for kind in ("head", "loss", "metric"))
FITS = {
    "classify": {"cross-entropy", "focal", "accuracy", "f1", "confusion", "kappa"},
    "ordinal": {"cross-entropy", "focal", "coral", "accuracy", "f1", "confusion", "kappa", "mae"},
    "multi-label": {"binary-cross-entropy", "focal", "f1", "average-precision", "exact-match"},
    "regress": {"mse", "mae"},
}


def made(kind, name, tmp_path, **options):
    return CATALOG.find(kind, name)(**options)


@pytest.fixture(params=HEADS)
def head(request, tmp_path):
    """Each head, resolved on its own examples."""
    found = CATALOG.find("head", request.param).tiny(tmp_path)
    rows = list(found.examples())
    return found.resolved(lambda field: [row.get(field) for row in rows])


def batch(head):
    """What a head gives for its own examples, and their targets."""
    rows = list(head.examples())
    processor, module = head.processor(), head.build(Widths(6, {})).eval()
    targets = processor.pad([processor(row) for row in rows])
    return module(Fused(len(rows), pooled=torch.randn(len(rows), 6)), {}), targets


def test_the_table_names_every_part():
    assert set(FITS) == set(HEADS)
    assert set().union(*FITS.values()) == {*LOSSES, *METRICS}


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_judges_a_head_or_says_which(name, head):
    loss = CATALOG.find("loss", name)(head="it")
    if name not in FITS[head.name]:
        refused(loss, head, LOSSES)
        return
    outputs, targets = batch(head)
    module = loss.build(head)
    totals, counts = module(outputs, targets), module.count({}, targets)
    assert set(totals) == set(counts) == set(loss.terms)
    assert all(total.isfinite() and total.requires_grad for total in totals.values())
    assert all(count > 0 for count in counts.values())


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_judges_a_head_or_says_which(name, head):
    options = {"weights": "none"} if name == "kappa" and head.name != "ordinal" else {}
    metric = CATALOG.find("metric", name)(head="it", **options)
    if name not in FITS[head.name]:
        refused(metric, head, METRICS)
        return
    outputs, targets = batch(head)
    found = metric.build(head)
    found.update(outputs, targets)
    assert found.compute()


def refused(judge, head, judges):
    """The message names the heads that fit, and its hint what fits this head; both are true."""
    with pytest.raises(A2AError, match=f"the {judge.kind} `{judge.name}` judges a head that") as error:
        judge.build(head)
    (problem,) = error.value.problems
    assert f"and `heads.it` is `{head.name}`" in problem.message
    named = set(re.findall(r"`([a-z0-9-]+)`", problem.message.rpartition(", and ")[0])) - {judge.name}
    assert named == {name for name, fitting in FITS.items() if judge.name in fitting} - (
        {"classify"} if judge.name == "mae" else set()
    )
    assert set(re.findall(r"`([a-z0-9-]+)`", problem.hint)) - {head.name} == FITS[head.name] & set(judges)


def test_qualities_name_what_there_is():
    for quality in QUALITIES.values():
        assert set(quality.heads) <= set(HEADS)
        assert set(quality.losses) <= set(LOSSES)
        assert set(quality.metrics) <= set(METRICS)


def test_a_strangers_head_fits_by_what_it_says():
    from a2a_classification.accuracy import AccuracyMetric
    from a2a_core.testing.reference import ReferenceHead

    class Strange(ReferenceHead):
        """Tells three classes apart."""

        name = "strange"
        class_names = ("a", "b", "c")

    assert has(Strange(), "class_names")
    AccuracyMetric(head="it").build(Strange())
    with pytest.raises(A2AError) as error:
        AccuracyMetric(head="it").build(ReferenceHead())
    assert error.value.problems[0].hint == ""
    assert judges_of(ReferenceHead(), AccuracyMetric(head="it")) == ()
