"""What a2a-llm offers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.hookspecs import hookimpl


@hookimpl
def a2a_encoders() -> Mapping[str, str]:
    """Whole multimodal models, for embeddings."""
    return {"hf-multimodal": "a2a_llm.hf_multimodal_encoder:HfMultimodalEncoder"}


@hookimpl
def a2a_projectors() -> Mapping[str, str]:
    """A token to a token, all to a fixed number, or four neighbours to one."""
    return {
        "mlp": "a2a_llm.mlp:MlpProjector",
        "attention": "a2a_llm.attention:AttentionProjector",
        "pixel-shuffle": "a2a_llm.pixel_shuffle:PixelShuffleProjector",
    }


@hookimpl
def a2a_fusions() -> Mapping[str, str]:
    """A language model that reads text and media, and whole multimodal models."""
    return {"causal-lm": "a2a_llm.causal_lm:CausalLm", "hf-multimodal": "a2a_llm.hf_multimodal:HfMultimodal"}


@hookimpl
def a2a_heads() -> Mapping[str, str]:
    """The next token."""
    return {"lm": "a2a_llm.lm:LmHead"}


@hookimpl
def a2a_losses() -> Mapping[str, str]:
    """Of the next token."""
    return {"next-token": "a2a_llm.next_token:NextToken"}


@hookimpl
def a2a_metrics() -> Mapping[str, str]:
    """Of the next token, and of whole answers."""
    return {
        "perplexity": "a2a_llm.metrics:Perplexity",
        "token-accuracy": "a2a_llm.metrics:TokenAccuracy",
        "sequence-accuracy": "a2a_llm.metrics:SequenceAccuracy",
    }


@hookimpl
def a2a_presets() -> Mapping[str, str]:
    """LLaVA-1.5's two stages."""
    return {
        "llava-1.5-stage1": "presets/llava-1.5-stage1.toml",
        "llava-1.5-stage2": "presets/llava-1.5-stage2.toml",
    }
