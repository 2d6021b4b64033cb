"""LlavaProcessor, of our tokenizer, our way of preparing pictures and our chat template."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tokenizers import AddedToken
from transformers import LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

MARK: Final = "<image>"
FLATTENED: Final = """\
{%- set flat = namespace(messages=[]) -%}
{%- for message in messages -%}
    {%- if message.content is string -%}
        {%- set said = message.content -%}
    {%- else -%}
        {%- set said -%}
            {%- for part in message.content -%}
                {{- '<image>' if part.type == 'image' else part.text -}}
            {%- endfor -%}
        {%- endset -%}
    {%- endif -%}
    {%- set flat.messages = flat.messages + [dict(message, content=said)] -%}
{%- endfor -%}
{%- set messages = flat.messages -%}
"""
"""Before a template of texts: contents that are lists of parts, as LlavaProcessor is given them, become texts."""


def clip(preprocess: Mapping[str, Any]) -> Any:
    """CLIP's, of a completed table (see `preprocess` of `hf-vision`)."""
    return CLIPImageProcessorPil(**settings(preprocess))


def siglip(preprocess: Mapping[str, Any]) -> Any:
    """SigLIP's."""
    return SiglipImageProcessorPil(**settings(preprocess))


IMAGE_PROCESSORS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "clip_vision_model": clip,
    "siglip_vision_model": siglip,
}


def settings(preprocess: Mapping[str, Any]) -> dict[str, Any]:
    """All that a table says; what it always says is said of rescaling and normalising, too."""
    return {**preprocess, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True}


def processor_of(tokenizer: Any, images: Any, **options: Any) -> LlavaProcessor:
    """The tokenizer gets a mark for pictures, its own where it has one; the chat template moves to the processor."""
    tokenizer.add_tokens([AddedToken(MARK, special=True, normalized=False)], special_tokens=True)
    template, tokenizer.chat_template = tokenizer.chat_template, None
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        chat_template=None if template is None else FLATTENED + template,
        image_token=MARK,
        **options,
    )
