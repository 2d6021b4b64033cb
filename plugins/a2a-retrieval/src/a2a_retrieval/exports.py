"""The formats of models that embed: a text model or a CLIP of sentence-transformers, a CLIP or SigLIP of transformers."""

from __future__ import annotations

from collections.abc import Mapping

from a2a_core.export import Exporter
from a2a_core.model import A2AModel
from a2a_retrieval.clip_export import ClipExport
from a2a_retrieval.composition import Composition
from a2a_retrieval.sentence_clip_export import SentenceClipExport
from a2a_retrieval.sentence_export import SentenceExport


def formats(model: A2AModel) -> Mapping[str, Exporter]:
    """Standard formats of models that are built around the fusion `separate`, by name."""
    clip = ClipExport(Composition(model))
    towers = any(encoder.name in ("clip-text", "clip-image") for encoder in model.parts.encoders.values())
    sentence: Exporter = SentenceClipExport(clip) if towers else SentenceExport(Composition(model))
    return {"clip": clip, "sentence-transformers": sentence}
