"""The loss `matryoshka`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import attrs

from a2a_core.components import Column, HeadConfig, LossConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_retrieval.sides_loss import SidesLoss

if TYPE_CHECKING:
    from torch import Tensor, nn


class Matryoshka(SidesLoss):
    """Embeddings whose first channels serve by themselves (Matryoshka representation learning, arXiv 2205.13147, section 3).

    The loss `inner` judges the vectors cut to their first d channels, and scaled to length 1 again if the head does so, for
    each d of `dimensions`; the sum of these, by `weights`. What `inner` learns, such as a temperature, is the same for all d.
    Of the head's own number of channels, too, only if it is one of them. Vectors of a teacher head are not cut, unless they
    are themselves what is matched.
    """

    name = "matryoshka"
    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("matryoshka",)
    inner: LossConfig = option("the loss of each, of the same head")
    dimensions: tuple[int, ...] = option("how many of the first channels are kept, for each", gt=0)
    weights: tuple[float, ...] = option("each one's factor in the sum (empty: 1)", default=(), ge=0)

    def check(self) -> None:
        """Different numbers of channels, and one loss of one head."""
        if not self.dimensions:
            raise ValueError("`dimensions` is empty: nothing would be learned")
        repeated = sorted({each for each in self.dimensions if self.dimensions.count(each) > 1})
        if repeated:
            raise ValueError(f"`dimensions` has {repeated[0]} more than once; `weights` can make it count more")
        if self.weights and len(self.weights) != len(self.dimensions):
            raise ValueError(f"`weights` has {len(self.weights)} numbers, and `dimensions` {len(self.dimensions)}")
        if self.weights and not any(self.weights):
            raise ValueError("all `weights` are 0: nothing would be learned")
        if self.inner.head != self.head:
            raise ValueError(f"it judges the head `{self.head}`, and its `inner` loss `{self.inner.head}`: they must be one")
        if self.inner.weight != 1:
            raise ValueError("`inner.weight` would count beside `weight` and `weights`: leave it out")
        if len(self.inner.terms) != 1:
            raise ValueError(f"the `inner` loss `{self.inner.name}` has {len(self.inner.terms)} terms, and can have but one")

    def resolved(self, head: HeadConfig, column: Column) -> Self:
        """With `inner` resolved."""
        made: Self = attrs.evolve(self, inner=self.inner.resolved(head, column))  # type: ignore[misc]
        return made

    def beside(self) -> Mapping[str, str]:
        """What `inner` reads."""
        return self.inner.beside()

    def least(self) -> int:
        """What `inner` needs."""
        return self.inner.least()

    def distinct(self, head: HeadConfig) -> str:
        """What `inner` wants."""
        return self.inner.distinct(head)

    def build(self, head: HeadConfig) -> nn.Module:
        """The module, with that of `inner`; A2AError for a head that has too few channels, or does not embed."""
        from a2a_retrieval.matryoshka_model import MatryoshkaLoss

        self.sides_of(head)
        width, most = getattr(head, "dimension", None), max(self.dimensions)
        if width is not None and most > width:
            raise A2AError(too_wide(most, f"`heads.{self.head}` makes vectors of {width}"))
        weights = self.weights or (1.0,) * len(self.dimensions)
        return MatryoshkaLoss(
            self.inner.build(head), self.inner.terms[0], self.dimensions, weights, getattr(head, "normalise", True)
        )

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Of four and of eight channels, with a temperature that is learned."""
        from a2a_retrieval.infonce import InfoNce

        return cls(head="pair", inner=InfoNce.tiny(folder), dimensions=(4, 8))

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Those of `inner`."""
        return self.inner.examples(size)

    def example_inputs(self, size: int, samples: Sequence[int]) -> Mapping[str, Any]:
        """Those of `inner`."""
        return self.inner.example_inputs(size, samples)


def too_wide(dimension: int, vectors: str) -> str:
    """A number of channels that there are not."""
    return f"the loss `matryoshka` cuts vectors to their first {dimension} channels (`dimensions`), and {vectors}"
