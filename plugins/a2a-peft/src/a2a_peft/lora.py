"""The adapter `lora`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from a2a_core.components import AdapterConfig
from a2a_core.options import option

if TYPE_CHECKING:
    from torch import nn

    from a2a_core.data import Collate
    from a2a_core.export import Exporter
    from a2a_core.model import A2AModel


class LoraAdapter(AdapterConfig):
    """Low-rank updates of a part's linear layers (arXiv 2106.09685): W x becomes W x + alpha / r B A x, A and B trained alone.

    `part` is any part of the model by its recipe name; everything else in it is frozen, but for `modules_to_save`. Other parts
    train as before. `targets` are patterns of module names within the part, `["q_proj", "layer.*.attention.*.query"]`;
    `"all-linear"` is every linear layer that can get a gradient, but for a language model's output. B starts as zero, so that
    the first step starts from the part's own outputs.

    `rslora` scales by alpha / sqrt(r), which lets large ranks learn (arXiv 2312.03732); `dora` learns each output's magnitude
    beside its direction (arXiv 2402.09353). peft makes the layers.
    """

    name = "lora"
    adds: ClassVar[bool] = True
    part: str = option(
        "what is changed: `encoders.<key>`, `projectors.<key>`, `fusion`, `heads.<key>`, or a module inside of one"
    )
    targets: tuple[str, ...] | Literal["all-linear"] = option("the linear layers that get an update", default="all-linear")
    r: int = option("rank of an update", default=16, ge=1)
    alpha: float = option("strength of an update", default=32.0, gt=0)
    dropout: float = option("share of an update's inputs dropped, in training", default=0.0, ge=0, lt=1)
    rslora: bool = option("scale by alpha / sqrt(r)", default=False)
    dora: bool = option("learn magnitudes, too", default=False)
    modules_to_save: tuple[str, ...] = option("patterns of modules in the part that are trained whole", default=())

    def check(self) -> None:
        """Something to change."""
        if not self.targets:
            raise ValueError('`targets` names no module; "all-linear" is all of them')

    def apply(self, model: nn.Module) -> None:
        """Put the updates in; A2AError for a part or a pattern that is not there."""
        from a2a_peft.lora_model import put_in

        put_in(self, model)

    def merge(self, model: nn.Module) -> None:
        """The updates as part of the weights."""
        from a2a_peft.merging import take_in
        from a2a_peft.patterns import part_of

        take_in(part_of(model, self.part))

    def formats(self, model: A2AModel, collate: Collate) -> Mapping[str, Exporter]:
        """The updates alone, as peft saves them."""
        from a2a_peft.exports import AdapterExport

        return {"adapter": AdapterExport(self, model)}

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Rank two on the kit's encoder."""
        return cls(part="encoders.it", r=2, alpha=4.0)
