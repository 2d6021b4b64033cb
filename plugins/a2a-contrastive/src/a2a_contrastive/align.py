"""The head `align`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from a2a_core.components import HeadConfig
from a2a_core.errors import A2AError, suggest
from a2a_core.options import option
from a2a_core.structures import Widths

if TYPE_CHECKING:
    from torch import nn


class AlignHead(HeadConfig):
    """Two modalities in one space (CLIP, arXiv 2103.00020, section 2.3): `first`, `second` (B, projection_dim), of length 1.

    Each is the mean of its encoder's real tokens, projected without bias. It reads the tokens as the fusion was given them:
    after a fusion that mixes, one modality's tokens tell of the other's, and what belongs together would be seen without
    learning what they have in common. So it works behind every fusion. `both` (B,) says which samples have both modalities;
    of others the outputs mean nothing. The prediction is the cosine of the two, null where one is missing. It has no target.
    """

    name = "align"
    modalities: tuple[str, str] = option("the two encoders, by their names", refers_to="encoders")
    projection_dim: int = option("channels of the space", default=128, gt=0)

    def check(self) -> None:
        """Two different ones."""
        if self.modalities[0] == self.modalities[1]:
            raise ValueError(f"`modalities` names `{self.modalities[0]}` twice")

    def build(self, spec: Widths) -> nn.Module:
        """The projections; A2AError for a modality that no encoder gives."""
        from a2a_contrastive.align_model import Align

        for name in self.modalities:
            if name not in spec.parts:
                raise A2AError(
                    f"the head `align` compares `{name}`, and no encoder has that name", hint=suggest(name, spec.parts)
                )
        first, second = self.modalities
        return Align(first, spec.parts[first], second, spec.parts[second], self.projection_dim)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Eight channels."""
        return cls(modalities=("image", "audio"), projection_dim=8)

    def examples(self) -> Sequence[Mapping[str, Any]]:
        """It has no target."""
        return [{}, {}]
