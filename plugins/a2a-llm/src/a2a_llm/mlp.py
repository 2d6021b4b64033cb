"""The projector `mlp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from a2a_core.components import ProjectorConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import nn


class MlpProjector(ProjectorConfig):
    """Each token by itself through linear layers, GELU between them: LLaVA-1.5 has two (arXiv 2310.03744, section 3.3).

    Shapes: (N, T, width) to (N, T, out). Hidden layers have `out` channels, as in LLaVA, or `hidden_size`.
    """

    name = "mlp"
    layers: int = option("linear layers", default=2, ge=1)
    hidden_size: int | None = option("channels between them (none: those of the fusion)", default=None, ge=1)

    def build(self, width: int, out: int) -> nn.Module:
        """The layers with torch's own initialisation, as LLaVA's."""
        from a2a_llm.mlp_model import MlpTokens

        return MlpTokens([width, *[self.hidden_size or out] * (self.layers - 1), out])
