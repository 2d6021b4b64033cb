"""What a2a-contrastive offers."""

from __future__ import annotations

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_heads() -> Offers:
    """Two modalities in one space."""
    return {"align": "a2a_contrastive.align:AlignHead"}


@hookimpl
def a2a_losses() -> Offers:
    """Pairs against all other pairs."""
    return {"contrastive": "a2a_contrastive.contrastive:ContrastiveLoss"}
