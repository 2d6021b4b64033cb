"""The format `sentence-transformers` of a CLIP or SigLIP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from a2a_core.export import Exporter
from a2a_retrieval.clip_export import ClipExport
from a2a_retrieval.sentence_export import ROUTES
from a2a_retrieval.sentence_layout import OPENS, write_json, write_modules

SIGLIP: Final = {
    "transformer_task": "feature-extraction",
    "modality_config": {
        medium: {"method": f"get_{medium}_features", "method_output_name": "pooler_output"} for medium in ("text", "image")
    },
    "module_output_name": "sentence_embedding",
    "processing_kwargs": {"text": {"padding": "max_length", "truncation": True}},
}
"""What is known of CLIP; SigLIP was trained on texts padded to one length."""


class SentenceClipExport(Exporter):
    """One module for pictures and texts, around what the format `clip` writes, and Normalize."""

    opens = OPENS

    def __init__(self, clip: ClipExport) -> None:
        self.clip = clip

    def misfit(self) -> str:
        """As `clip`."""
        return self.clip.misfit()

    def write(self, folder: Path) -> None:
        """The model in a folder of its own; prefixes as prompts."""
        found = self.clip.composition
        padded = self.clip.family == "siglip"
        kind = "Transformer" if padded else "CLIPModel"
        inner = folder / f"0_{kind}"
        self.clip.write(inner)
        if padded:
            write_json(inner / "sentence_bert_config.json", SIGLIP)
        prompts = {ROUTES[side.name]: getattr(found.encoder(side), "prefix", "") for side in found.sides}
        normalised = [("Normalize", "1_Normalize")] if found.options.normalise else []
        write_modules(folder, [(kind, inner.name), *normalised], prompts, found.options.normalise)

    def compare(self, folder: Path) -> float:
        """As `clip`."""
        return self.clip.compare(next(folder.glob("0_*")))

    @property
    def notes(self) -> Sequence[str]:  # type: ignore[override]
        """SigLIP's family opens in later versions only."""
        return ["it opens in version 5.4 of sentence-transformers, or later"] if self.clip.family == "siglip" else []
