"""What this plugin offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_fusions() -> Offers:
    """The four fusions."""
    return {
        "concat": "a2a_fusion.concat:Concat",
        "bottleneck": "a2a_fusion.bottleneck:Bottleneck",
        "cross-attention": "a2a_fusion.cross_attention:CrossAttention",
        "perceiver": "a2a_fusion.perceiver:Perceiver",
    }
