"""What a trained model of two sides is made of, for formats that hold just that: a head, and the encoders that it reads."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from a2a_core.model import A2AModel
from a2a_core.structures import Tokens
from a2a_retrieval.embedding import EmbeddingHead
from a2a_retrieval.sides import SidesHead
from a2a_retrieval.temperature import Temperature


class Side(NamedTuple):
    """Queries, or documents."""

    name: str
    key: str
    """The encoder that reads them."""
    owner: str
    """The encoder whose weights that has."""


class Composition:
    """The one head of a model that is trained, and its two sides; `head` is None where there is no such head."""

    def __init__(self, model: A2AModel) -> None:
        self.model = model
        judged = {loss.head for loss in model.parts.losses.values()}
        heads = [key for key, head in model.parts.heads.items() if isinstance(head, SidesHead)]
        found = [key for key in heads if key in judged] or heads
        self.head = found[0] if len(found) == 1 else None

    def misfit(self) -> str:
        """Why it is not one head `embedding` over encoders, and nothing else that was trained."""
        if self.head is None:
            return "it holds one head that embeds queries and documents, and this model has none, or several"
        options = self.options
        if not isinstance(options, EmbeddingHead):
            return f"it holds one vector a text or picture, and `heads.{self.head}` (`{options.name}`) makes one a token"
        if options.pool == "attention":
            return f'it has no learned pooling, and `heads.{self.head}` has `pool = "attention"`'
        projected = [owner for owner in self.owners if owner in self.model.projectors]
        if projected:
            return f"it has no projector behind an encoder, and this model has `projectors.{projected[0]}`"
        return self.others()

    def others(self) -> str:
        """A complaint about what else was trained; a frozen teacher and losses' own weights are for training alone."""
        assert self.head is not None
        held = (f"heads.{self.head}.", "losses.", *(f"encoders.{owner}." for owner in self.owners))
        trained = (name for name, parameter in self.model.named_parameters() if parameter.requires_grad)
        others = dict.fromkeys(".".join(name.split(".")[:2]) for name in trained if not name.startswith(held))
        return f"it has no place for {', '.join(f'`{name}`' for name in others)}" if others else ""

    @property
    def options(self) -> Any:
        """The head's."""
        return self.model.parts.heads[self.head]  # type: ignore[index]

    @property
    def sides(self) -> list[Side]:
        """Queries and documents."""
        keys = self.options.sides()
        return [Side(name, keys[name], self.model.parts.owner(keys[name])) for name in ("query", "positive")]

    @property
    def owners(self) -> list[str]:
        """The encoders that have weights, once each."""
        return list(dict.fromkeys(side.owner for side in self.sides))

    def encoder(self, side: Side) -> Any:
        """The options of a side's encoder."""
        return self.model.parts.encoders[side.key]

    def module(self, side: Side) -> Any:
        """A side's encoder, built."""
        return self.model.encoder(side.key)

    def projection(self, side: Side) -> nn.Linear | None:
        """What the head puts behind the pooling."""
        found: Any = self.model.heads[self.head]  # type: ignore[index]
        owner = found.owners[side.name]
        return dict(found.projections.items()).get(owner)

    def vectors(self, side: Side, tensors: dict[str, Tensor]) -> Tensor:
        """What the model makes of a side's padded items."""
        head: Any = self.model.heads[self.head]  # type: ignore[index]
        tokens: Tokens = self.model.tokens(side.key, tensors)
        found: Tensor = head.vectors(side.name, tokens)
        return found

    def scale(self) -> tuple[Tensor | None, Tensor | None]:
        """The logarithm of what the losses multiply scores with, and what they add, each (); None where no loss has it."""
        judging = [key for key, loss in self.model.parts.losses.items() if loss.head == self.head]
        modules = [module for key in judging for module in self.model.losses[key].modules()]
        scales = [module for module in modules if isinstance(module, Temperature)]
        biases = [module.logit_bias for module in modules if hasattr(module, "logit_bias")]
        scale = scales[0].logit_scale.clamp(max=scales[0].most)[0] if scales else None
        return scale, biases[0][0] if biases else None  # type: ignore[index]
