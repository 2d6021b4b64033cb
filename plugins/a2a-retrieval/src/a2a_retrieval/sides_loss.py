"""What losses have in common that judge heads which embed queries and documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from a2a_core.components import HeadConfig, LossConfig
from a2a_core.errors import A2AError
from a2a_retrieval.examples import example_inputs, examples
from a2a_retrieval.multi_vector import MultiVectorHead
from a2a_retrieval.sides import embeds

if TYPE_CHECKING:
    from torch import Tensor


class SidesLoss(LossConfig):
    """Which heads it can judge, and what it shows the testing kit."""

    def sides_of(self, head: HeadConfig) -> dict[str, str]:
        """The head's sides; A2AError where it has none."""
        return embeds(self, head).sides()

    def sides_with_negatives(self, head: HeadConfig) -> dict[str, str]:
        """The same, negatives among them; A2AError where it reads none."""
        sides = self.sides_of(head)
        if "negative" not in sides:
            raise A2AError(
                f"the loss `{self.name}` compares a positive with the row's own negatives, and `heads.{self.head}` reads none",
                hint=f"name their encoder: `negatives` of [heads.{self.head}]",
            )
        return sides

    def refuse_many_vectors(self, head: HeadConfig, option: str) -> None:
        """A2AError for a head that makes a vector a token, because of an option."""
        if isinstance(head, MultiVectorHead):
            raise A2AError(
                f"the loss `{self.name}` with `{option}` compares one vector an item, and those of `heads.{self.head}` "
                f"(`{head.name}`) are one a token"
            )

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="pair")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random vectors."""
        return examples(size)

    def example_inputs(self, size: int, samples: Sequence[int]) -> Mapping[str, Any]:
        """Which items they have."""
        return example_inputs(size, samples)
