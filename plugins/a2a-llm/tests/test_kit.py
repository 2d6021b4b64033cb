import pytest

from a2a_core.testing import checks, suite
from a2a_llm.attention import AttentionProjector
from a2a_llm.mlp import MlpProjector
from a2a_llm.pixel_shuffle import PixelShuffleProjector

test_plugin = suite("a2a-llm")

OTHERS = [
    MlpProjector(layers=1),
    MlpProjector(layers=3, hidden_size=20),
    AttentionProjector(num_queries=5, layers=1, hidden_size=12, num_heads=3),
    PixelShuffleProjector(factor=1),
]


@pytest.mark.parametrize(
    "check", [check for config in OTHERS for check in checks(config)], ids=lambda c: f"{c.subject.label}-{c}"
)
def test_other_options(check):
    check()
