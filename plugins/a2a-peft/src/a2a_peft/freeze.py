"""The adapter `freeze`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from a2a_core.aliases import spoken
from a2a_core.components import AdapterConfig
from a2a_core.errors import A2AError
from a2a_core.options import option
from a2a_peft.patterns import chosen

if TYPE_CHECKING:
    from torch import nn


class FreezeAdapter(AdapterConfig):
    """Parameters that are not trained, or not yet, by the patterns of their names; a pattern that fits none is an error.

    `encoders.image.freeze = true` freezes a whole encoder, dropout and running statistics included; this adapter freezes what
    has no table of its own: the first layers of an encoder, a fusion's embeddings.

        [[adapters]]
        use = "freeze"
        match = ["encoders.text.model.embeddings.*", "encoders.text.model.encoder.layer.[0-5].*"]

    With `until` they are trained from that optimizer step on, for staged unfreezing: until then they get no update, no weight
    decay and no optimizer state, while dropout and running statistics are those of training. `trainer.groups.freeze_until` does
    the same for a group with its own learning rate.
    """

    name = "freeze"
    match: tuple[str, ...] = option("patterns of parameter names: all of a name, or its end behind a dot")
    but: tuple[str, ...] = option("patterns of those that are trained all the same", default=())
    until: float = option(
        "optimizer steps before they are trained; below 1, a share of all steps (0: they never are)", default=0.0, ge=0
    )

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
        if not self.until:
            for name in frozen:
                parameters[name].requires_grad_(False)
            return
        late = {name: self.until for name in frozen if parameters[name].requires_grad}
        if not late:
            raise A2AError("all that the adapter `freeze` fits is frozen already: `until` would never train it")
        changed: Any = model
        changed.thaws = getattr(model, "thaws", {}) | late

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Every bias."""
        return cls(match=("bias",))
