"""The `hf-video` encoder: VideoMAE, ViViT, TimeSformer, V-JEPA 2, VideoPrism."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import attrs

from a2a_core import A2AError, RecordingConfig, option
from a2a_core.pretrained import check_source
from a2a_video.hf_families import FAMILIES, is_complete, made, num_frames, prepared, refuse_unknown_family, unknown_key
from a2a_video.video import example_files

if TYPE_CHECKING:
    from typing import Self

    from torch import nn
    from transformers import PretrainedConfig

    from a2a_video.hf_video_processor import ClipProcessor


class HfVideoEncoder(RecordingConfig):
    """Videos to tokens by a pretrained video model of transformers: VideoMAE, ViViT, TimeSformer, V-JEPA 2, VideoPrism.

    `path` is a directory that `save_pretrained` wrote (config.json, model.safetensors, and preprocessor_config.json or
    video_preprocessor_config.json, which says how frames are prepared); its weights are loaded on the first build. `config`
    is a table instead (`model_type` and its fields; `nulls = [...]` lists fields that are null), for a model from scratch.
    Whole checkpoints are fine: heads, decoders, V-JEPA 2's predictor and VideoPrism's text model are left out.

    As many frames as the configuration says are taken, evenly spread over the recording or the segment that its row names: the
    centres of equal bins, a frame again where there are fewer. `num_frames` takes another number, which VideoMAE
    (arXiv 2203.12602) and V-JEPA 2 (arXiv 2506.09985) can with the same weights; the others have learned each frame's place,
    and say so. Frames are prepared with the numbers of the stock processors, to one grey level, without torchvision.

    Shapes: `pixel_values` (N, frames, channels, H, W) to (N, tokens, hidden_size), one token a tubelet, in the model's own
    order: time first, but in TimeSformer (arXiv 2102.05095) place first. ViViT (arXiv 2103.15691) and TimeSformer have a class
    token besides: `select = "tubelet"` leaves it out, `"cls"` takes it alone, `"all"` both, the class token first.

    `layer` counts as transformers' `hidden_states`: 1 is after the first layer, -1 after the last. Layers behind it are not
    built. Without `layer` the tokens are the model's `last_hidden_state`, after its final norm where it has one there.

    Parameters that can get no gradient are frozen. A saved model carries its configuration and needs the directory no more.
    """

    name: ClassVar[str] = "hf-video"
    modality: ClassVar[str] = "video"

    path: Path | None = option("a directory with a saved model", default=None)
    config: dict[str, Any] = option(
        "the model's configuration: `model_type` and its fields (empty: that of `path`)", default={}
    )
    num_frames: int | None = option("frames of a clip (none: as many as the model was made for)", default=None, gt=0)
    layer: int | None = option("hidden states to use, -1 after the last layer (none: the model's own output)", default=None)
    select: Literal["tubelet", "cls", "all"] = option("tokens to keep: of tubelets, the class token, or all", default="tubelet")
    preprocess: dict[str, Any] = option(
        "how frames are prepared: keys of preprocessor_config.json, over those of `path`", default={}
    )

    def check(self) -> None:
        """ValueError unless there is one model, of a family that is known, and for keys and layers that no model has."""
        check_source(self.path, self.config, self.is_resolved(), "videomae")
        if self.config and self.config["model_type"] != "videoprism":
            refuse_unknown_family(self.config["model_type"])
        if self.layer == 0:
            raise ValueError(
                "`layer` = 0 would be the bare tubelets; count from 1 (after the first layer) or from -1 (the last)"
            )
        if complaint := unknown_key(self.preprocess):
            raise ValueError(complaint)

    def is_resolved(self) -> bool:
        """Whether `path` was read in: it is then only where the weights of the first build lie."""
        return bool(self.config) and is_complete(self.preprocess)

    def resolved(self) -> Self:
        """A copy that carries the model's configuration and its preprocessing; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain, read_preprocessor

        config = self._configuration()
        file = read_preprocessor(self.path, "video_processor") if self.path is not None and not self.config else {}
        return attrs.evolve(self, config=plain(config), preprocess=prepared(config, file, self.preprocess))

    def _configuration(self) -> PretrainedConfig:
        from a2a_core.pretrained.configuration import read_config

        whole = read_config(self.path, self.config, typed=not self.is_resolved())
        config = whole if whole.model_type in FAMILIES else getattr(whole, "vision_config", whole)
        try:
            refuse_unknown_family(config.model_type)
        except ValueError as error:
            raise A2AError(f"{self.path or '`config`'}: {error}") from None
        if self.num_frames is not None:
            setattr(config, FAMILIES[config.model_type].frames, self.num_frames)
        num_frames(config)
        return config

    def processor(self) -> ClipProcessor:
        """Videos to `pixel_values`."""
        from a2a_video.hf_video_model import trace
        from a2a_video.hf_video_processor import ClipProcessor

        whole = self.resolved()
        config = whole._configuration()
        length = trace(whole.config, self.layer, self.select).length
        return ClipProcessor(made(whole.preprocess, config), num_frames(config), length)

    def build(self) -> nn.Module:
        """The model with random weights; parameters that can get no gradient are frozen."""
        from a2a_video.hf_video_model import HfVideoModel

        return HfVideoModel(self.resolved().config, self.layer, self.select)

    def load(self, module: nn.Module) -> None:
        """Copy the weights of `path`; A2AError when one is missing there or has another shape."""
        from a2a_video.hf_video_model import load_video

        if self.path is not None:
            load_video(module, self.path)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Files of several lengths, sizes and rates."""
        return example_files(folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """The first of two layers of a VideoMAE on four frames."""
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        clips = {"image_size": 8, "patch_size": 4, "num_frames": 4}
        return cls(config={"model_type": "videomae", **clips, **sizes}, layer=-2)
