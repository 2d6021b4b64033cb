"""What a2a-text offers."""

from __future__ import annotations

from a2a_core import hookimpl


@hookimpl
def a2a_encoders() -> dict[str, str]:
    """Text to tokens."""
    return {
        "embedding": "a2a_text.embedding:EmbeddingEncoder",
        "hf-text": "a2a_text.hf_text:HfTextEncoder",
        "token-embedding": "a2a_text.token_embedding:TokenEmbeddingEncoder",
    }
