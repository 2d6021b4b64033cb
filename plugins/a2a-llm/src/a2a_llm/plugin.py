"""What a2a-llm offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_projectors() -> Mapping[str, str]:
    """A token to a token, all to a fixed number, or four neighbours to one."""
    return {
        "mlp": "a2a_llm.mlp:MlpProjector",
        "attention": "a2a_llm.attention:AttentionProjector",
        "pixel-shuffle": "a2a_llm.pixel_shuffle:PixelShuffleProjector",
    }
