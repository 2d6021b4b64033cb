"""What a recipe can say: every table, and the parts of a model among them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from a2a_core.components import (
    AdapterConfig,
    BackendConfig,
    CallbackConfig,
    CollatorConfig,
    EncoderConfig,
    FusionConfig,
    HeadConfig,
    LossConfig,
    MetricConfig,
    ProjectorConfig,
    SourceConfig,
    TrainerConfig,
)
from a2a_core.options import Options, option
from a2a_core.plugins import Catalog
from a2a_core.recipe.structure import Structurer
from a2a_core.recipe.tree import Document, tree

SAVED = "the saved model"


class Plugins(Options):
    """Which plugins a recipe wants, and which it will have."""

    allow: tuple[str, ...] = option("plugins or distributions that may be imported; empty: all", default=())
    require: tuple[str, ...] = option("distributions that must be there, as pip writes them (`a2a-vision>=0.1`)", default=())


class Parts(Options):
    """What a model is made of."""

    encoders: dict[str, EncoderConfig] = option("one modality to tokens, by the row's field", default={})
    projectors: dict[str, ProjectorConfig] = option("an encoder's tokens to the fusion's width, by encoder", default={})
    fusion: FusionConfig = option("many modalities to one")
    heads: dict[str, HeadConfig] = option("what is predicted", default={})
    losses: dict[str, LossConfig] = option("what is minimised", default={})
    adapters: tuple[AdapterConfig, ...] = option("the model, changed in place, in order", default=())

    def owner(self, key: str) -> str:
        """The encoder under whose name the weights of this one lie: itself, or the one that it is `like`."""
        like = self.encoders[key].like if key in self.encoders else ""
        return like if like in self.encoders else key

    def projector(self, key: str) -> ProjectorConfig | None:
        """What the recipe puts behind an encoder, or behind the one that it is `like`."""
        return self.projectors.get(self.owner(key))


class Recipe(Options):
    """A run, fully described."""

    seed: int = option("seed of everything random", default=0, ge=0)
    bad_rows: float = option("share of rows that may be unreadable before the run stops", default=0.01, ge=0, le=1)
    init_from: Path | None = option("a run, or a model that a run exported, whose weights are started with", default=None)
    init_but: tuple[str, ...] = option("patterns of tensors that `init_from` may lack, or have in vain", default=())
    plugins: Plugins = option("which plugins may be used", default=Plugins())
    data: dict[str, SourceConfig] = option("where rows come from, by split; `train` is trained on", default={})
    encoders: dict[str, EncoderConfig] = option("one modality to tokens, by the row's field", default={})
    projectors: dict[str, ProjectorConfig] = option("an encoder's tokens to the fusion's width, by encoder", default={})
    fusion: FusionConfig | None = option("many modalities to one", default=None)
    heads: dict[str, HeadConfig] = option("what is predicted", default={})
    losses: dict[str, LossConfig] = option("what is minimised", default={})
    metrics: dict[str, MetricConfig] = option("what is reported", default={})
    collator: CollatorConfig = option("samples to a batch")
    adapters: tuple[AdapterConfig, ...] = option("the model, changed in place, in order", default=())
    trainer: TrainerConfig = option("the run")
    backend: BackendConfig = option("where the ranks live")
    callbacks: dict[str, CallbackConfig] = option("what happens along the way", default={})


def structure_parts(plain: Mapping[str, Any], catalog: Catalog) -> Parts:
    """A model's parts from plain values (see `plain`), as strictly as from a recipe."""
    return Structurer(catalog, tree(dict(plain), Document(SAVED)), SAVED).make(Parts)
