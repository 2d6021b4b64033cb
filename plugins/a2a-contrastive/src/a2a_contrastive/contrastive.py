"""The loss `contrastive`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from a2a_contrastive.align import AlignHead
from a2a_core.components import HeadConfig, LossConfig
from a2a_core.errors import A2AError
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import Tensor, nn


class ContrastiveLoss(LossConfig):
    """Symmetric InfoNCE: each of a pair finds the other among all pairs of the step (CLIP, arXiv 2103.00020, figure 3).

    With cosines s_ij of pair i's first and pair j's second modality and temperature t, in float32, a pair has the loss

        - 1/2 log softmax_j(s_ij / t)_i - 1/2 log softmax_j(s_ji / t)_i

    It is a mean over the pairs: the samples that have both modalities; others are neither counted nor compared with. All pairs
    of an optimizer step are compared, those of other ranks too, a smaller `micro_batch` or not (gradient cache). A pair
    that is alone has nothing to be told from and the loss 0; a run whose steps never have two pairs ends with an error. In
    evaluation batches take the place of steps: more pairs in a batch make the task harder, and the loss larger.
    """

    name = "contrastive"
    scope: ClassVar[Literal["sample", "window"]] = "window"
    terms: ClassVar[tuple[str, ...]] = ("contrastive",)
    temperature: float = option("what cosines are divided by, at first", default=0.07, gt=0)
    learn_temperature: bool = option("train the temperature; false: it stays as it is", default=True)
    min_temperature: float = option("a learned temperature never falls below it", default=0.01, gt=0)

    def check(self) -> None:
        """It starts where it may be."""
        if self.learn_temperature and self.temperature < self.min_temperature:
            raise ValueError(f"`temperature` {self.temperature:g} lies below `min_temperature` {self.min_temperature:g}")

    def build(self, head: HeadConfig) -> nn.Module:
        """The module, with the temperature."""
        from a2a_contrastive.contrastive_model import Contrastive

        modalities = getattr(head, "modalities", None)
        if modalities is None:
            raise A2AError(
                f"the loss `contrastive` judges a head that embeds two modalities (`align`), and `heads.{self.head}` is "
                f"`{head.name}`"
            )
        return Contrastive(modalities, self.temperature, self.min_temperature if self.learn_temperature else None)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """As it is."""
        return cls(head="pair")

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """Random embeddings, the last sample without a second modality."""
        import torch

        from a2a_contrastive.align_model import normalised

        first, second = normalised(torch.randn(2, size, 8, generator=torch.Generator().manual_seed(0)))
        both = torch.arange(size) < size - 1
        return AlignHead(modalities=("image", "audio"), projection_dim=8), {"first": first, "second": second, "both": both}, {}

    def example_inputs(self, size: int, samples: Sequence[int]) -> Mapping[str, Any]:
        """Which of them have which modality."""
        import torch

        heard = [place for place, sample in enumerate(samples) if sample != size - 1]
        return {
            "size": len(samples),
            "image": {"row": torch.arange(len(samples))},
            "audio": {"row": torch.tensor(heard, dtype=torch.int64)},
        }
