"""The loss `next-token`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from a2a_core import A2AError, HeadConfig, LossConfig, TextTarget, option
from a2a_llm.lm import LmHead

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn


class NextToken(LossConfig):
    """Cross-entropy of the next token, where the collator says that one is supervised.

    With p the softmax of a place's logits, Z their normaliser, y the token, V the vocabulary's size, smoothing e and z-loss
    factor z, a place of weight w has the loss

        w ((1 - e) (-log p_y) + e / V sum_v (-log p_v) + z log(Z)^2)        (arXiv 1512.00567, section 7; 2204.02311, section 5)

    and the sum is divided by the sum of all w. Logits are made in chunks, and their gradient in the same pass: those of all
    places never exist together, and nothing is computed twice. Softmax and loss are in float32, whatever the arithmetic of
    the model; the products with the output layer are in the model's, but for float16, in which they would lose too much.
    """

    name = "next-token"
    terms: ClassVar[tuple[str, ...]] = ("next_token",)
    label_smoothing: float = option("share of a label that is spread over the vocabulary", default=0.0, ge=0, lt=1)
    z_loss: float = option("factor of the squared logarithm of the softmax's normaliser; PaLM's is 1e-4", default=0.0, ge=0)

    def build(self, head: HeadConfig) -> nn.Module:
        """The module; A2AError for a head that predicts no text."""
        from a2a_llm.next_token_model import NextTokens

        refuse_other(self.name, head)
        return NextTokens(self.label_smoothing, self.z_loss)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Everything that it can do."""
        return cls(head="lm", label_smoothing=0.1, z_loss=1e-3)

    def examples(self, size: int) -> tuple[HeadConfig, dict[str, Tensor], dict[str, Tensor]]:
        """See `stated`."""
        return stated(size)

    def example_inputs(self, size: int, samples: Sequence[int]) -> Mapping[str, Any]:
        """How many."""
        return {"size": len(samples)}


def refuse_other(name: str, head: HeadConfig) -> None:
    """A2AError for a head that predicts no text."""
    if not isinstance(head.processor(), TextTarget):
        raise A2AError(f"`{name}` judges a head that predicts text, such as `lm`, not `{head.name}`")


def stated(size: int) -> tuple[HeadConfig, dict[str, Any], dict[str, Tensor]]:
    """A head, states of random numbers at one place of each sample, and their labels; the last counts nothing."""
    import torch

    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(size, generator=generator) + 0.5
    weights[-1] = 0
    targets = {
        "index": torch.arange(size),
        "labels": torch.randint(11, (size,), generator=generator),
        "weights": weights,
        "row": torch.arange(size),
    }
    return LmHead(), {"hidden": torch.randn(size, 8, generator=generator), "unembed": Mixing(8, 11)}, targets


class Mixing:
    """States to logits by numbers of no meaning, wherever the states are."""

    def __init__(self, width: int, vocabulary: int) -> None:
        self.width, self.vocabulary = width, vocabulary

    def __call__(self, hidden: Tensor) -> Tensor:
        """(S, width) -> (S, vocabulary)."""
        import torch

        places = torch.arange(self.width * self.vocabulary, device=hidden.device, dtype=hidden.dtype)
        return hidden @ places.reshape(self.width, self.vocabulary).sin()

    def parameters(self) -> tuple[()]:
        """None."""
        return ()
