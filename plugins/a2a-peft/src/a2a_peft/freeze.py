"""The adapter `freeze`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from a2a_core.aliases import spoken
from a2a_core.components import AdapterConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_peft.patterns import chosen

if TYPE_CHECKING:
    from torch import nn


class FreezeAdapter(AdapterConfig):
    """Parameters that are not trained, by the patterns of their names; a pattern that fits none is an error.

    `encoders.image.freeze = true` freezes a whole encoder, dropout and running statistics included; this adapter freezes what
    has no table of its own: the first layers of an encoder, a fusion's embeddings.

        [[adapters]]
        use = "freeze"
        match = ["encoders.text.model.embeddings.*", "encoders.text.model.encoder.layer.[0-5].*"]
    """

    name = "freeze"
    match: tuple[str, ...] = option("patterns of parameter names: all of a name, or its end behind a dot")
    but: tuple[str, ...] = option("patterns of those that are trained all the same", default=())

    def check(self) -> None:
        """At least one pattern."""
        if not self.match:
            raise ValueError("`match` names no parameter")

    def apply(self, model: nn.Module) -> None:
        """Take what matches out of training."""
        parameters = dict(model.named_parameters())
        called = spoken(model, parameters)
        spared = set(chosen(self.but, called, "parameter"))
        frozen = [name for name in chosen(self.match, called, "parameter") if name not in spared]
        if not frozen:
            raise A2AError("the adapter `freeze` freezes nothing: `but` spares all that `match` fits")
        for name in frozen:
            parameters[name].requires_grad_(False)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Every bias."""
        return cls(match=("bias",))
