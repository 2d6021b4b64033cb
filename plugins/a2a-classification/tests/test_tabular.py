"""What a metric says of its own value is what it computes: a trainer goes by it before anything is measured."""

import pytest

from a2a_classification.plugin import a2a_metrics
from a2a_core.plugins import Catalog


@pytest.mark.parametrize("name", a2a_metrics())
def test_a_table_says_that_it_is_one(tmp_path, name):
    config = Catalog.installed().find("metric", f"a2a-classification:{name}").tiny(tmp_path)
    head, outputs, targets = config.examples(12)
    metric = config.build(head)
    metric.update(outputs, targets)
    value = next(iter(metric.compute().values()))
    assert isinstance(value, list if config.tabular else float)
