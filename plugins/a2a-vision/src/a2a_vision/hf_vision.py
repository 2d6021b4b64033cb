"""The `hf-vision` encoder: any Hugging Face vision model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from a2a_core import EncoderConfig, option
from a2a_core.pretrained import check_source
from a2a_vision.preprocess import COMPLETED, completed, pixels, unknown_key
from a2a_vision.square import example_files

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_vision.pixels import ImageProcessor


class HfVisionEncoder(EncoderConfig):
    """Images to tokens by any vision transformer of transformers: CLIP, SigLIP, DINOv2, DINOv3, ViT, BEiT, DeiT ...

    `path` is a directory that `save_pretrained` wrote (config.json, model.safetensors, and preprocessor_config.json, which
    says how pictures are prepared); its weights are loaded on the first build. `config` is a table instead (`model_type` and
    its fields; `nulls = [...]` lists fields that are null), for a model from scratch. Of CLIP and SigLIP the vision tower is
    used, whole checkpoints are fine.

    `layer` counts as transformers' `hidden_states`, and as LLaVA's `vision_feature_layer`: 1 is after the first layer, -1
    after the last, -2 after the last but one. Layers behind it are not built. Without `layer` the tokens are the model's
    `last_hidden_state`, after its final norm where it has one there (SigLIP, ViT and DINO have, CLIP has not).

    `select = "patch"` keeps the patches, by row; `"cls"` the class token alone, which not every model has (SigLIP has none);
    `"all"` everything, class and register tokens first.

    Shapes: `pixel_values` (N, channels, H, W) to (N, tokens, hidden_size). Pictures of another size than the model was
    made for (`preprocess`) have their position embeddings interpolated. Parameters that can get no gradient (poolers, mask
    tokens, norms that are not used) are frozen. A saved model carries its configuration and needs the directory no more.
    """

    name: ClassVar[str] = "hf-vision"
    modality: ClassVar[str] = "image"
    reads: ClassVar[Literal["value", "file"]] = "file"

    path: Path | None = option("a directory with a saved model", default=None)
    config: dict[str, Any] = option(
        "the model's configuration: `model_type` and its fields (empty: that of `path`)", default={}
    )
    layer: int | None = option("hidden states to use, -1 after the last layer (none: the model's own output)", default=None)
    select: Literal["patch", "cls", "all"] = option("tokens to keep: patches, the class token, or all", default="patch")
    preprocess: dict[str, Any] = option(
        "how pictures are prepared: keys of preprocessor_config.json, over those of `path`", default={}
    )

    def check(self) -> None:
        """ValueError unless there is one model, and for keys and layers that no model has."""
        check_source(self.path, self.config, self.is_resolved(), "clip_vision_model")
        if self.layer == 0:
            raise ValueError(
                "`layer` = 0 would be the bare patches; count from 1 (after the first layer) or from -1 (the last)"
            )
        if complaint := unknown_key(self.preprocess):
            raise ValueError(complaint)

    def is_resolved(self) -> bool:
        """Whether `path` was read in: it is then only where the weights of the first build lie."""
        return bool(self.config) and self.preprocess.keys() >= COMPLETED

    def resolved(self) -> Self:
        """A copy that carries the model's configuration and its preprocessing; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain, read_preprocessor
        from a2a_vision.hf_config import image_size, read_tower

        config = read_tower(self.path, self.config, typed=not self.is_resolved())
        file = read_preprocessor(self.path, "image_processor") if self.path is not None and not self.config else {}
        channels = getattr(config, "num_channels", 3)
        preprocess = completed(file, self.preprocess, config.model_type, image_size(config), channels)
        return attrs.evolve(self, config=plain(config), preprocess=preprocess)

    def processor(self) -> ImageProcessor:
        """Files to `pixel_values`."""
        from a2a_vision.hf_vision_model import trace
        from a2a_vision.pixels import ImageProcessor

        whole = self.resolved()
        prepared = pixels(whole.preprocess, whole.config.get("num_channels", 3))
        return ImageProcessor(prepared, trace(whole.config, prepared.size, self.layer, self.select).length)

    def build(self) -> nn.Module:
        """The model with random weights; parameters that can get no gradient are frozen."""
        from a2a_vision.hf_vision_model import HfVisionModel

        whole = self.resolved()
        prepared = pixels(whole.preprocess, whole.config.get("num_channels", 3))
        return HfVisionModel(whole.config, prepared.size, self.layer, self.select)

    def load(self, module: nn.Module) -> None:
        """Copy the weights of `path`; A2AError when one is missing there."""
        from a2a_core.pretrained.weights import load_pretrained

        if self.path is not None:
            model: Any = module
            load_pretrained(model.model, self.path, unused=model.unused)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Files of several sizes, modes and formats."""
        return example_files(folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """The first of two layers of a CLIP."""
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        return cls(config={"model_type": "clip_vision_model", "image_size": 8, "patch_size": 4, **sizes}, layer=-2)
