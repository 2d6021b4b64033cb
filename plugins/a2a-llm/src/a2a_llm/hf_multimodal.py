"""The fusion `hf-multimodal`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from a2a_core import A2AError, FusionConfig
from a2a_core.structures import Medium
from a2a_llm.hf_multimodal_options import TINY, HfMultimodalOptions

if TYPE_CHECKING:
    from torch import nn

    from a2a_core.data import Collate
    from a2a_core.export import Exporter
    from a2a_core.model import A2AModel
    from a2a_llm.hf_multimodal_text import MultimodalText


class HfMultimodal(HfMultimodalOptions, FusionConfig):
    """A whole multimodal model of transformers, which reads pictures or sound itself: there are no encoders.

    It runs LLaVA and ViP-LLaVA (model types `llava`, `vipllava`), Qwen2-VL, Qwen2.5-VL and Qwen3-VL (`qwen2_vl`,
    `qwen2_5_vl`, `qwen3_vl`), and Qwen2-Audio (`qwen2_audio`).

    `path` is a directory that `save_pretrained` wrote (config.json, safetensors, tokenizer, preprocessor_config.json): its
    weights are loaded on the first build. `config` is a table instead (`model_type` and its fields), for a model from
    scratch. Text becomes ids by `tokenizer`, else by the directory's own, and is written by its chat template; a model from
    `config` without a tokenizer reads UTF-8 bytes as `causal-lm` does, and knows its placeholders. Media are the rows' fields
    `image`, `video` and `audio`, as far as the model reads such, each a file, several in a list; `start` and `end` bound a
    segment of a recording, in seconds. They are prepared as the model's stock processors prepare them, but for the frames of
    a video, which are those at the centres of stretches of 1 / `fps` seconds.

    Its parts have names for groups, freezing and adapters, whatever the model itself calls them: `fusion.vision` or
    `fusion.audio`, the tower; `fusion.merger`, what brings its tokens to the language model; `fusion.llm`. The patterns
    `fusion.vision.*` and `fusion.merger.*` have no parameter in common.

    Texts of a batch lie one behind the other as in `causal-lm`, and each attends to itself alone. Positions in time, height
    and width (M-RoPE, arXiv 2409.12191, section 2.1) begin anew in each. A batch without a picture runs the tower on one
    token, which nothing sees, so that every rank does the same.

    Shapes: ids (T,) to `hidden` (T, hidden_size); `pooled` (B, hidden_size) is the state at each text's last token.
    """

    name: ClassVar[str] = "hf-multimodal"
    needs_encoders: ClassVar[bool] = False
    reads_text: ClassVar[bool] = True

    def processor(self) -> MultimodalText:
        """The model's tokenizer and chat template."""
        return self.text()

    def media(self) -> Mapping[str, Medium]:
        """Its modalities, each from the field of that name."""
        whole = self.resolved()
        bounds = {"image": ("", "")}
        return {
            key: Medium(key, True, processor, *bounds.get(key, ("start", "end")), modality=key)
            for key, processor in whole.processors().items()
        }

    def build(self, widths: Mapping[str, int]) -> nn.Module:
        """The model with random weights."""
        from a2a_llm.hf_multimodal_model import HfMultimodalModel

        if widths:
            named = ", ".join(f"`{key}`" for key in widths)
            raise A2AError(f"`hf-multimodal` reads media itself, and the recipe has encoders: {named}", hint="leave them out")
        whole = self.resolved()
        return HfMultimodalModel(whole.configuration(), whole.dummies(), self.layout)

    def formats(self, model: A2AModel, collate: Collate) -> Mapping[str, Exporter]:
        """As a model of its own class."""
        from a2a_llm.hf_multimodal_exports import WholeModelExport

        return {"transformers": WholeModelExport(model, collate)}

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """A Qwen2.5-VL of two layers, one of them within windows, on bytes."""
        return cls(**TINY)
