"""The `clip-text` and `clip-image` encoders: the two towers of CLIP and SigLIP, each with its own pooling and projection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import attrs

from a2a_core import EncoderConfig, option
from a2a_core.pretrained import check_source
from a2a_text.embedding import EXAMPLES
from a2a_text.tokenization import PREFIX, pack, shared, tokenizer_file
from a2a_vision.preprocess import COMPLETED, completed, pixels, unknown_key
from a2a_vision.square import example_files

if TYPE_CHECKING:
    from typing import Self

    from torch import nn

    from a2a_retrieval.towers_text import TowerText
    from a2a_vision.pixels import ImageProcessor

PATH = "a directory with a saved CLIP or SigLIP, whole or this tower alone"
CONFIG = "the configuration of the tower, or of the whole model: `model_type` and its fields (empty: that of `path`)"
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


class TextTower(EncoderConfig):
    """A text to one token by the text tower of CLIP (arXiv 2103.00020) or SigLIP (2303.15343, 2502.14786), projection included.

    `path` is a directory that `save_pretrained` wrote, of the whole model: the tower loads its part of it, and
    `clip-image` the other. `config` is a table instead, for a tower from scratch. The token is what transformers calls
    `get_text_features`: of CLIP the state at the end of the text, of SigLIP the state at the last of `max_length` places,
    which sees the padding: every text is padded to just that length, and so comes out the same in any batch. SigLIP 2 is
    read where its pictures have a fixed size (its `model_type` is then `siglip`).

    Text becomes ids by the directory's own tokenizer.json, else by `tokenizer`, else as UTF-8 bytes (see `hf-text`). A text
    longer than `max_length` is an error; with `truncate` its tail is dropped, special tokens at the end kept.

    Shapes: `input_ids` (N, T) to (N, 1, projection). A saved model carries its config and its tokenizer.
    """

    name: ClassVar[str] = "clip-text"
    modality: ClassVar[str] = "text"
    reading: ClassVar[frozenset[str]] = EncoderConfig.reading | {"prefix", "truncate"}
    own: ClassVar[frozenset[str]] = EncoderConfig.own | {"prefix"}

    path: Path | None = option(PATH, default=None)
    config: dict[str, Any] = option(CONFIG, default={})
    tokenizer: Path | None = option(
        "a tokenizer.json, or a directory with one (none: that of `path`, else UTF-8 bytes)", default=None
    )
    max_length: int | None = option(
        "most tokens of a text, special tokens included (none: as many as the model has positions)", default=None, ge=2
    )
    truncate: bool = option("drop the tail of a longer text instead of refusing it", default=False)
    prefix: str = option(PREFIX, default="")
    tokenizer_data: str = option("the tokenizer.json itself, packed; filled in by a2a when a model is saved", default="")

    def check(self) -> None:
        """ValueError for a directory, tokenizer or configuration that cannot be."""
        check_source(self.path, self.config, bool(self.tokenizer_data), "clip_text_model")
        if not self.tokenizer_data and (source := self.tokenizer or self.path):
            tokenizer_file(source)

    def resolved(self) -> Self:
        """A copy that carries the tower's configuration, its tokenizer and its length; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain
        from a2a_retrieval.towers_config import fit_tokenizer, read_part
        from a2a_text.hf_config import length_limit

        if self.tokenizer_data:
            return self
        config = read_part(self.path, self.config, "text")
        source = self.tokenizer or self.path
        data = pack(source) if source is not None else ""
        fit_tokenizer(config, shared(data) if data else None, source)
        length = length_limit(self.max_length, config.max_position_embeddings)
        filled = {"tokenizer_data": data, "config": plain(config), "max_length": length}
        copy: Self = attrs.evolve(cast("Any", self), tokenizer=None, **filled)
        return copy

    def processor(self) -> TowerText:
        """Strings to ids."""
        from a2a_retrieval.towers_config import SEES_PADDING
        from a2a_retrieval.towers_text import TowerText

        whole = self.resolved()
        return TowerText(
            whole.tokenizer_data,
            pad_id=whole.config["pad_token_id"],
            empty_id=whole.config["pad_token_id"],
            max_length=whole.max_length,
            truncate=self.truncate,
            prefix=self.prefix,
            padded=whole.config["model_type"] in SEES_PADDING,
        )

    def build(self) -> nn.Module:
        """The tower with random weights."""
        from a2a_retrieval.towers_model import TextTowerModel

        return TextTowerModel(self.resolved().config)

    def load(self, module: nn.Module) -> None:
        """Copy the tower's part of the weights of `path`; A2AError when one is missing there."""
        from a2a_retrieval.towers_model import load_tower

        if self.path is not None:
            load_tower(module, self.path)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Those of `embedding`."""
        return EXAMPLES

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """A SigLIP of one layer on bytes."""
        return cls(config={"model_type": "siglip_text_model", "vocab_size": 259, "max_position_embeddings": 40, **SIZES})


class ImageTower(EncoderConfig):
    """A picture to one token by the vision tower of CLIP or SigLIP, projection included: the other half of `clip-text`.

    `path` is a directory that `save_pretrained` wrote, of the whole model; `config` is a table instead, for a tower from
    scratch. The token is what transformers calls `get_image_features`: of CLIP the class token behind its norm and
    projection, of SigLIP the output of its attention pooling. Pictures are prepared as by `hf-vision`: `preprocess` over the
    directory's preprocessor_config.json; of another size than the model was made for, positions are interpolated.

    Shapes: `pixel_values` (N, channels, H, W) to (N, 1, projection). A saved model carries its configuration.
    """

    name: ClassVar[str] = "clip-image"
    modality: ClassVar[str] = "image"
    reads: ClassVar[Literal["value", "file"]] = "file"

    path: Path | None = option(PATH, default=None)
    config: dict[str, Any] = option(CONFIG, default={})
    preprocess: dict[str, Any] = option(
        "how pictures are prepared: keys of preprocessor_config.json, over those of `path`", default={}
    )

    def check(self) -> None:
        """ValueError unless there is one model, and for keys that no model has."""
        check_source(self.path, self.config, self.is_resolved(), "clip_vision_model")
        if complaint := unknown_key(self.preprocess):
            raise ValueError(complaint)

    def is_resolved(self) -> bool:
        """Whether `path` was read in: it is then only where the weights of the first build lie."""
        return bool(self.config) and self.preprocess.keys() >= COMPLETED

    def resolved(self) -> Self:
        """A copy that carries the tower's configuration and its preprocessing; A2AError where they do not fit."""
        from a2a_core.pretrained.configuration import plain, read_preprocessor
        from a2a_retrieval.towers_config import read_part
        from a2a_vision.hf_config import image_size

        config = read_part(self.path, self.config, "vision", typed=not self.is_resolved())
        file = read_preprocessor(self.path, "image_processor") if self.path is not None and not self.config else {}
        preprocess = completed(file, self.preprocess, config.model_type, image_size(config), config.num_channels)
        copy: Self = attrs.evolve(cast("Any", self), config=plain(config), preprocess=preprocess)
        return copy

    def processor(self) -> ImageProcessor:
        """Files to `pixel_values`."""
        from a2a_vision.pixels import ImageProcessor

        whole = self.resolved()
        # a grey level here and there would part exports from those who open them, by more than vectors of one model may differ
        return ImageProcessor(pixels(whole.preprocess, whole.config["num_channels"], exact=True), 1)

    def build(self) -> nn.Module:
        """The tower with random weights."""
        from a2a_retrieval.towers_model import ImageTowerModel

        whole = self.resolved()
        return ImageTowerModel(whole.config, pixels(whole.preprocess, whole.config["num_channels"]).size)

    def load(self, module: nn.Module) -> None:
        """Copy the tower's part of the weights of `path`; A2AError when one is missing there."""
        from a2a_retrieval.towers_model import load_tower

        if self.path is not None:
            load_tower(module, self.path)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Files of several sizes, modes and formats."""
        return example_files(folder)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """A CLIP of one layer."""
        sizes = {"image_size": 8, "patch_size": 4, "projection_dim": 12, **SIZES}
        return cls(config={"model_type": "clip_vision_model", **sizes})
