"""What `a2a check --deep` shows of a target is what stood in the row."""

import pytest

from a2a_classification.classify import ClassifyHead
from a2a_classification.multi_label import MultiLabelHead
from a2a_classification.regress import RegressHead

VALUES = [1.0, 2.5, -4.0]


@pytest.mark.parametrize(
    ("head", "raw", "told"),
    [
        (ClassifyHead(field="x", classes=("cat", "dog")), "dog", "dog"),
        (ClassifyHead(field="x", classes=3), 2, "2"),
        (RegressHead(field="x").resolved(lambda _: VALUES), -4.0, "-4"),
        (RegressHead(field="x", size=2).resolved(lambda _: [[1.0, 10.0], [3.0, 30.0]]), [3.0, 10.0], "3, 10"),
        (MultiLabelHead(field="x", classes=("cat", "dog", "owl")), ["owl", "cat"], "cat, owl"),
        (MultiLabelHead(field="x", classes=("cat", "dog", "owl")), {"dog": 1, "cat": 0}, "dog, owl?"),
        (MultiLabelHead(field="x", classes=("cat", "dog", "owl")), [], "none"),
    ],
)
def test_a_target_reads_like_its_row(head, raw, told):
    assert head.describe(head.processor()({"x": raw})) == told
