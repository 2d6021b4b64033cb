"""Every extension point of a2a; this page is the table of contents.

A hook returns names and where each class lies (`{"patch": "a2a_vision.patch:PatchEncoder"}`), so that listing what is
installed imports nothing heavy. The entry-point group is `a2a.plugins`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pluggy import HookimplMarker, HookspecMarker

hookspec = HookspecMarker("a2a")
hookimpl = HookimplMarker("a2a")

Offers = Mapping[str, str]


@hookspec
def a2a_sources() -> Offers:  # type: ignore[empty-body]
    """Offer sources: where rows come from (SourceConfig)."""


@hookspec
def a2a_encoders() -> Offers:  # type: ignore[empty-body]
    """Offer encoders: one modality to tokens (EncoderConfig)."""


@hookspec
def a2a_projectors() -> Offers:  # type: ignore[empty-body]
    """Offer projectors: an encoder's tokens to the fusion's width (ProjectorConfig)."""


@hookspec
def a2a_fusions() -> Offers:  # type: ignore[empty-body]
    """Offer fusions: many modalities to one (FusionConfig)."""


@hookspec
def a2a_heads() -> Offers:  # type: ignore[empty-body]
    """Offer heads: what is predicted (HeadConfig)."""


@hookspec
def a2a_losses() -> Offers:  # type: ignore[empty-body]
    """Offer losses: what is minimised (LossConfig)."""


@hookspec
def a2a_metrics() -> Offers:  # type: ignore[empty-body]
    """Offer metrics: what is reported (MetricConfig)."""


@hookspec
def a2a_collators() -> Offers:  # type: ignore[empty-body]
    """Offer collators: samples to a batch (CollatorConfig)."""


@hookspec
def a2a_adapters() -> Offers:  # type: ignore[empty-body]
    """Offer adapters: the model, changed in place (AdapterConfig)."""


@hookspec
def a2a_trainers() -> Offers:  # type: ignore[empty-body]
    """Offer trainers: the run (TrainerConfig)."""


@hookspec
def a2a_backends() -> Offers:  # type: ignore[empty-body]
    """Offer backends: where the run's ranks live (BackendConfig)."""


@hookspec
def a2a_callbacks() -> Offers:  # type: ignore[empty-body]
    """Offer callbacks: what happens along the way (CallbackConfig)."""


@hookspec
def a2a_launchers() -> Offers:  # type: ignore[empty-body]
    """Offer launchers: what another engine starts the run from (LauncherConfig)."""


@hookspec
def a2a_presets() -> Offers:  # type: ignore[empty-body]
    """Offer whole recipes: name -> TOML file, relative to the plugin's module; `extends = "<distribution>:<name>"`."""


@hookspec
def a2a_commands() -> Offers:  # type: ignore[empty-body]
    """Offer more `a2a` subcommands: name -> click command (`package.module:command`)."""


HOOKS: Final = {
    "a2a_sources": "source",
    "a2a_encoders": "encoder",
    "a2a_projectors": "projector",
    "a2a_fusions": "fusion",
    "a2a_heads": "head",
    "a2a_losses": "loss",
    "a2a_metrics": "metric",
    "a2a_collators": "collator",
    "a2a_adapters": "adapter",
    "a2a_trainers": "trainer",
    "a2a_backends": "backend",
    "a2a_callbacks": "callback",
    "a2a_launchers": "launcher",
    "a2a_presets": "preset",
    "a2a_commands": "command",
}
"""Hook -> what it offers."""
