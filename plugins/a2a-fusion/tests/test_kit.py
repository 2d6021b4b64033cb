import pytest

from a2a_core.testing import checks, suite
from a2a_fusion.bottleneck import Bottleneck
from a2a_fusion.concat import Concat
from a2a_fusion.cross_attention import CrossAttention
from a2a_fusion.perceiver import Perceiver

test_plugin = suite("a2a-fusion")

OTHERS = [
    Concat(pool="attention"),
    Bottleneck(num_heads=2, layers=3, fusion_layer=2, pool="mean", gate="channel"),
    CrossAttention(num_heads=2, layers=2, pool="mean", gate="none"),
    Perceiver(num_heads=2, num_latents=2, layers=3, share_weights=True),
]


@pytest.mark.parametrize(
    "check", [check for config in OTHERS for check in checks(config)], ids=lambda c: f"{c.subject.label}-{c}"
)
def test_other_options(check):
    check()
