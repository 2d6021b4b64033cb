"""The options that the fusions made of transformer blocks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from a2a_core.components import FusionConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

if TYPE_CHECKING:
    from a2a_fusion.attention import Shape


def fused_width(width: int | None, widths: Mapping[str, int]) -> int:
    """The recipe's width, else the widest encoder's."""
    if not widths:
        raise A2AError("a fusion needs at least one encoder", hint="add a table such as [encoders.image]")
    return width or max(widths.values())


class TransformerFusion(FusionConfig):
    """A fusion of pre-norm transformer blocks with rotary positions and gated attention."""

    width: int | None = option(
        "channels of every token and of the pooled vector (none: the widest encoder's)", default=None, gt=0
    )
    num_heads: int = option("attention heads; each must get an even number of channels", default=4, gt=0)
    mlp_ratio: float = option("hidden channels of a block's MLP, as a multiple of the width", default=4.0, gt=0)
    dropout: float = option("probability, on attention weights and on what a block adds", default=0.1, ge=0, lt=1)
    gate: Literal["head", "channel", "none"] = option(
        "attention's sigmoid output gate: one a head, a channel, or none", default="head"
    )

    def check(self) -> None:
        """Heads must divide a given width."""
        super().check()
        if self.width is not None and self.width % (2 * self.num_heads):
            raise ValueError(f"`width` {self.width} does not give {self.num_heads} heads an even number of channels each")

    def shape(self, widths: Mapping[str, int]) -> Shape:
        """The sizes of a block; A2AError when the heads do not divide the widest encoder's width."""
        from a2a_fusion.attention import Shape

        width = fused_width(self.width, widths)
        if width % (2 * self.num_heads):
            raise A2AError(
                f"fusion `{self.name}`: {width} channels, the widest encoder's, do not give {self.num_heads} heads "
                "an even number of channels each",
                hint=f"set fusion.width to a multiple of {2 * self.num_heads}, or fusion.num_heads",
            )
        return Shape(width, self.num_heads, max(1, round(width * self.mlp_ratio)), self.dropout, self.gate)
