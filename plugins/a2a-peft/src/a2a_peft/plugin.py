"""What a2a-peft offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_adapters() -> Mapping[str, str]:
    """Low-rank updates, beside four bits as well, new tokens, and freezing by name."""
    return {
        "embeddings": "a2a_peft.embeddings:EmbeddingsAdapter",
        "freeze": "a2a_peft.freeze:FreezeAdapter",
        "lora": "a2a_peft.lora:LoraAdapter",
        "qlora": "a2a_peft.qlora:QloraAdapter",
    }
