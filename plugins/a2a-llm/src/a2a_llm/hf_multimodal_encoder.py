"""The encoder `hf-multimodal`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from a2a_core import A2AError, option
from a2a_core.components import RecordingConfig
from a2a_llm.hf_multimodal_families import FAMILIES
from a2a_llm.hf_multimodal_options import TINY, HfMultimodalOptions

if TYPE_CHECKING:
    from torch import nn

    from a2a_llm.hf_multimodal_prompt import PromptProcessor

PREPARED = ("image_processor", "video_processor", "feature_extractor")


class HfMultimodalEncoder(HfMultimodalOptions, RecordingConfig):
    """A whole multimodal model of transformers as an encoder: a text, a picture, a video or a sound to hidden states.

    That is how vision-language models embed (GME, arXiv 2412.16855; Qwen3-VL-Embedding), or give a vector a token for late
    interaction (ColPali, arXiv 2407.01449): a head takes the last token, the mean, or all of them. The models are those of
    the fusion `hf-multimodal`, and so are `path`, `config`, and how media are prepared; the output layer is left out.

    An item is `prefix`, what the field holds, and `suffix`, as one text with the tokenizer's special tokens; before and behind
    a picture or video stand the borders that the model knows (`<|vision_start|>`, `<|vision_end|>`). Words are read causally:
    what stands last has seen everything, so an instruction goes into `prefix`, and for `pool = "last"` something like
    `<|endoftext|>` into `suffix`. A text longer than `max_length` is an error; with `truncate` its own tail is dropped, never
    prefix, suffix or any of a medium.

    One model reads questions as texts and documents as pictures: `like` shares the weights, and `medium`, what stands around
    it and how it is prepared may differ. A batch of texts runs the tower on one token, which nothing sees.

    Shapes: `input_ids` (N, T), padded on the right, to the hidden states (N, T, hidden_size) of `layer`. Items lie one behind
    the other in the model, none sees another, and nothing is kept for generation. A saved model carries configuration,
    tokenizer and preprocessing and needs the directory no more.
    """

    name: ClassVar[str] = "hf-multimodal"
    reading: ClassVar[frozenset[str]] = RecordingConfig.reading | {
        "medium",
        "prefix",
        "suffix",
        "max_length",
        "truncate",
        *PREPARED,
    }
    own: ClassVar[frozenset[str]] = RecordingConfig.own | {"prefix", "suffix"}

    medium: Literal["text", "image", "video", "audio"] = option("what the field holds; media are files", default="text")
    prefix: str = option("what stands before it: an instruction, a role of the chat template", default="")
    suffix: str = option("what stands behind it", default="")
    max_length: int | None = option(
        "most tokens of an item, all included (none: as many as the model has positions)", default=None, ge=1
    )
    truncate: bool = option("drop the tail of a longer text instead of refusing it", default=False)
    layer: int = option(
        "hidden states to use: -1 the model's output, 0 the embeddings, 1 after the first layer ...", default=-1
    )
    start: str = option(
        "the row's field with the second that a video's or sound's segment starts at (empty: no segments)", default=""
    )
    end: str = option("the row's field with the second that its segment ends at", default="")

    @property
    def modality(self) -> str:  # type: ignore[override]
        """What it reads."""
        return self.medium

    @property
    def reads(self) -> Literal["value", "file"]:  # type: ignore[override]
        """Texts stand in the row itself."""
        return "value" if self.medium == "text" else "file"

    def processor(self) -> PromptProcessor:
        """Texts or media to items; A2AError for what the model does not read."""
        from a2a_llm.hf_multimodal_prompt import PromptProcessor, Space, Wording

        whole, text = self.resolved(), self.text()
        config = whole.configuration()
        family, media = FAMILIES[config.model_type], whole.processors()
        if self.medium != "text" and self.medium not in media:
            raise A2AError(f"a `{config.model_type}` model reads no {self.medium}; it reads text, {', '.join(media)}")
        if self.max_length is not None and text.max_length is not None and self.max_length > text.max_length:
            raise A2AError(f"`max_length` = {self.max_length}, but the model has {text.max_length} positions")
        borders = [text.tokenizer.convert_ids_to_tokens(getattr(config, name)) for name in family.around]
        before, behind = borders if borders and self.medium != "text" else ("", "")
        wording = Wording(
            self.medium, self.prefix, self.suffix, (before, behind), self.max_length or text.max_length, self.truncate
        )
        space = Space(config.vision_config.spatial_merge_size, family.timestamps) if family.spatial else None
        return PromptProcessor(text, wording, media.get(self.medium), space)

    def build(self) -> nn.Module:
        """The model with random weights."""
        import torch

        from a2a_llm.hf_multimodal_encoder_model import HfMultimodalEncoderModel

        whole = self.resolved()
        processor: Any = next(iter(whole.processors().values()))
        with torch.device("cpu"):  # as `dummies`
            dummy = processor.by_item([processor.dummy()])
        return HfMultimodalEncoderModel(whole.configuration(), whole.dummies(), dummy, self.layout, self.layer)

    def examples(self, folder: Path) -> Sequence[Any]:
        """Texts, or files of the medium."""
        if self.medium == "text":
            return ["a", "What is it?", "A cat on a mat."]
        if self.medium == "image":
            from a2a_vision.square import example_files as pictures

            return pictures(folder)
        if self.medium == "video":
            from a2a_video.video import example_files as videos

            return videos(folder)
        from a2a_audio.log_mel import example_files as sounds

        return sounds(folder)[:3]  # the last is shorter than a token

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """Pictures, by a Qwen2.5-VL of two layers on bytes."""
        return cls(**TINY, medium="image", prefix="See:", suffix="?")
