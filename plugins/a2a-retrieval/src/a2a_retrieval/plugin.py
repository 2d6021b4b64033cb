"""What a2a-retrieval offers."""

from __future__ import annotations

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_sources() -> Offers:
    """Corpus, queries and judgements in files of their own."""
    return {"beir": "a2a_retrieval.beir:BeirSource"}


@hookimpl
def a2a_encoders() -> Offers:
    """The towers of CLIP and SigLIP, one token an item."""
    return {
        "clip-text": "a2a_retrieval.towers:TextTower",
        "clip-image": "a2a_retrieval.towers:ImageTower",
    }


@hookimpl
def a2a_fusions() -> Offers:
    """Nothing is mixed."""
    return {"separate": "a2a_retrieval.separate:Separate"}


@hookimpl
def a2a_heads() -> Offers:
    """A vector an item, or a vector a token."""
    return {
        "embedding": "a2a_retrieval.embedding:EmbeddingHead",
        "multi-vector": "a2a_retrieval.multi_vector:MultiVectorHead",
    }


@hookimpl
def a2a_losses() -> Offers:
    """Queries against documents, all of a step or scored ones."""
    return {
        "infonce": "a2a_retrieval.infonce:InfoNce",
        "siglip": "a2a_retrieval.siglip:SigLip",
        "triplet": "a2a_retrieval.triplet:Triplet",
        "cosent": "a2a_retrieval.cosent:CoSent",
        "colbert": "a2a_retrieval.colbert:ColBert",
        "matryoshka": "a2a_retrieval.matryoshka:Matryoshka",
        "distillation": "a2a_retrieval.distillation:Distillation",
        "margin-mse": "a2a_retrieval.margin_mse:MarginMse",
    }


@hookimpl
def a2a_metrics() -> Offers:
    """Of rankings, and of scored pairs."""
    return {"retrieval": "a2a_retrieval.retrieval:Retrieval", "spearman": "a2a_retrieval.spearman:Spearman"}


@hookimpl
def a2a_commands() -> Offers:
    """Vectors, search, and negatives that are hard."""
    return {
        "embed": "a2a_retrieval.commands.embed:embed",
        "mine": "a2a_retrieval.commands.mine:mine",
        "search": "a2a_retrieval.commands.search:search",
    }


@hookimpl
def a2a_presets() -> Offers:
    """Whole recipes but for the data."""
    return {
        "clip": "presets/clip.toml",
        "colpali": "presets/colpali.toml",
        "qwen-vl": "presets/qwen-vl.toml",
        "sentence": "presets/sentence.toml",
        "siglip": "presets/siglip.toml",
    }
