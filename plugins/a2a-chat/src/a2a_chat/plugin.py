"""What a2a-chat offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_sources() -> Mapping[str, str]:
    """Conversations and texts, whatever format they were written in."""
    return {"chat": "a2a_chat.source:ChatSource"}


@hookimpl
def a2a_collators() -> Mapping[str, str]:
    """Conversations to tokens, of which the answers are supervised."""
    return {"chat": "a2a_chat.collator:ChatCollator"}
