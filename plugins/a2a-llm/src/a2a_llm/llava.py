"""The format `llava`: a vision tower, two linear layers and a language model as `LlavaForConditionalGeneration`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoProcessor, LlavaConfig, LlavaForConditionalGeneration

from a2a_core.data import Collate
from a2a_core.errors import RunFailed
from a2a_core.export import Exporter, apart, refuse_other
from a2a_core.formats import outputs
from a2a_core.model import A2AModel
from a2a_core.pretrained.weights import quiet, reopened
from a2a_llm.exports import beyond, generation, written_by
from a2a_llm.llava_processor import IMAGE_PROCESSORS, MARK, processor_of
from a2a_llm.mlp_model import MlpTokens

FAMILIES: Final = ("llama", "mistral", "qwen2", "qwen3")
"""Language models that LLaVA's class runs as their own classes do."""
NORMED: Final = (
    "the last norm of the SigLIP is read, by `tie_last_hidden_states` of its configuration, which transformers knows since "
    "version 5; other programs may leave the norm out"
)
PROBE: Final = "What is\n" + MARK + "here, and why?"


class LlavaExport(Exporter):
    """See arXiv 2310.03744. The tower ends at the layer that is read, as our own does: layers behind it are never trained."""

    opens = "transformers: LlavaForConditionalGeneration and LlavaProcessor.from_pretrained(…)"

    def __init__(self, model: A2AModel, collate: Collate) -> None:
        self.model, self.collate = model, collate
        self.language: Any = model.fusion.model
        self.key = next(iter(model.encoders), "")

    def misfit(self) -> str:
        """One CLIP or SigLIP, two linear layers, a language model of a known family, and nothing else."""
        if len(self.model.encoders) != 1:
            return f"it has one encoder, of images, and this model has {len(self.model.encoders) or 'none'}"
        parts = ("fusion.", f"encoders.{self.key}.", f"projectors.{self.key}.")
        return self.other_tower() or self.other_projector() or self.other_language() or beyond(self.model, parts)

    def other_tower(self) -> str:
        """Why the encoder is no vision tower of LLaVA."""
        table, encoder, tower = f"encoders.{self.key}", self.encoder, self.tower
        kind = getattr(getattr(tower, "config", None), "model_type", encoder.name)
        if encoder.name != "hf-vision" or kind not in IMAGE_PROCESSORS:
            return f"it reads pictures by a CLIP or a SigLIP of `hf-vision`, and `{table}` is `{kind}`"
        if encoder.select == "cls":
            return f'it reads patches, or all tokens, and `{table}` has `select = "cls"`'
        if encoder.processor().pixels.size != (tower.config.image_size, tower.config.image_size):
            return f"it does not interpolate positions, and `{table}.preprocess` makes pictures of another size"
        return ""

    def other_projector(self) -> str:
        """Why there are not two linear layers between them."""
        projector: Any = dict(self.model.projectors.items()).get(self.key)
        layers = list(projector.layers) if isinstance(projector, MlpTokens) else []
        width = self.model.fusion.input_width
        if len(layers) == 3 and layers[0].out_features == width:
            return ""
        return f'it has two linear layers of {width} channels between them: `[projectors.{self.key}] use = "mlp"`'

    def other_language(self) -> str:
        """Why the language model has another shape."""
        kind, layer = self.language.config.model_type, self.language.get_output_embeddings()
        layer = getattr(layer, "base_layer", layer)
        if kind not in FAMILIES or type(layer) is not nn.Linear or layer.bias is not None:
            return f"its language model is one of {', '.join(FAMILIES)}, and this one is `{kind}`"
        return ""

    @property
    def encoder(self) -> Any:
        """The encoder's options."""
        return self.model.parts.encoders[self.key]

    @property
    def tower(self) -> Any:
        """The vision model of transformers."""
        return getattr(self.model.encoders[self.key], "model", None)

    @property
    def strategy(self) -> str:
        """LLaVA's name for the tokens that are kept: "default" is all but the first, the class token."""
        return "default" if self.encoder.select == "patch" and self.class_tokens else "full"

    @property
    def normed(self) -> bool:
        """The tokens are SigLIP's own output, behind its last norm, which is no layer's; CLIP has none there."""
        return self.encoder.layer is None and self.tower.config.model_type == "siglip_vision_model"

    @property
    def class_tokens(self) -> int:
        """SigLIP has none."""
        return int(self.tower.config.model_type == "clip_vision_model")

    def write(self, folder: Path) -> None:
        """Weights, configuration, where answers end, and the processor."""
        processor = self.processor()
        config = self.config(processor.image_token_id)
        with torch.device("meta"):
            model: Any = LlavaForConditionalGeneration(config)
        model.load_state_dict(self.state(config.text_config.vocab_size), assign=True)
        model.tie_weights()
        with quiet():
            model.save_pretrained(folder)
        generation(processor.tokenizer, self.collate).save_pretrained(folder)
        processor.save_pretrained(folder)
        if self.normed:
            self.notes = [NORMED]

    def processor(self) -> Any:
        """LlavaProcessor with our own tokenizer, and our way of preparing pictures."""
        tokenizer = written_by(self.model, self.collate)
        tower = self.tower.config
        return processor_of(
            tokenizer,
            IMAGE_PROCESSORS[tower.model_type](self.encoder.preprocess),
            patch_size=tower.patch_size,
            vision_feature_select_strategy=self.strategy,
            num_additional_image_tokens=self.class_tokens,
        )

    def config(self, mark: int) -> Any:
        """LLaVA's configuration; a mark that the vocabulary has no row for makes it longer."""
        vision, text = copied(self.tower.config), copied(self.language.config)
        vision.tie_last_hidden_states = self.normed
        text.vocab_size = max(text.vocab_size, mark + 1)
        return LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=mark,
            image_seq_length=self.encoder.processor().length,
            projector_hidden_act="gelu",
            vision_feature_select_strategy=self.strategy,  # type: ignore[arg-type]
            vision_feature_layer=-1,
            multimodal_projector_bias=True,
            tie_word_embeddings=bool(text.tie_word_embeddings),
        )

    def state(self, rows: int) -> dict[str, Tensor]:
        """Every tensor under LLaVA's names, the vocabulary `rows` long."""
        projector: Any = self.model.projectors[self.key]
        parts = {
            "model.vision_tower.": self.tower,
            "model.multi_modal_projector.linear_1.": projector.layers[0],
            "model.multi_modal_projector.linear_2.": projector.layers[2],
            "model.language_model.": self.language.base_model,
            "lm_head.": self.language.get_output_embeddings(),
        }
        state = {prefix + name: each for prefix, part in parts.items() for name, each in part.state_dict().items()}
        for name in ("model.language_model.embed_tokens.weight", "lm_head.weight"):
            state[name] = longer(state[name], rows)
        return state

    def compare(self, folder: Path) -> float:
        """Tensors; a picture and a text through the reopened processor; logits."""
        again = reopened(LlavaForConditionalGeneration, folder)
        refuse_other(self.state(again.config.text_config.vocab_size), again.state_dict(), folder)
        auto: Any = AutoProcessor
        processor = auto.from_pretrained(folder, local_files_only=True)
        height, width = self.encoder.processor().pixels.size
        larger = (width + width // 3, height + height // 2)
        picture = Image.effect_mandelbrot(larger, (-2.0, -1.5, 1.0, 1.5), 100).convert("RGB")
        given = processor(images=[picture], text=[PROBE], return_tensors="pt")
        self.refuse_other_pixels(given["pixel_values"][0], picture)
        wanted = outputs(self.model, self.inputs(given, again.config.image_token_id))["logits"]
        return apart(again(**given).logits[0, :, : wanted.shape[1]], wanted)

    def refuse_other_pixels(self, found: Tensor, picture: Image.Image) -> None:
        """RunFailed where the picture was prepared otherwise, by more than one grey level in rounding."""
        ours = self.encoder.processor()(picture).tensors["pixel_values"]
        level = self.encoder.preprocess["rescale_factor"] / min(self.encoder.preprocess["image_std"])
        if found.shape != ours.shape or float((found - ours).abs().max()) > 1.01 * level:
            raise RunFailed("transformers' image processor prepares pictures otherwise than they were in training")

    def inputs(self, given: Mapping[str, Tensor], mark: int) -> dict[str, Any]:
        """Our inputs of what the processor made; RunFailed where our tokenizer makes other ids, or another number of places."""
        text: Any = self.model.parts.fusion.processor()
        ids = given["input_ids"][0]
        seen = ids == mark
        ours = text.tokenizer(PROBE.replace(MARK, text.placeholder("image")))["input_ids"]
        placeholder = text.tokenizer.convert_tokens_to_ids(text.placeholder("image"))
        if int(seen.sum()) != self.encoder.processor().length:
            raise RunFailed(f"LlavaProcessor gives a picture {int(seen.sum())} places, and it has another number of tokens")
        if ids[~seen].tolist() != [each for each in ours if each != placeholder]:
            raise RunFailed("LlavaProcessor's tokenizer is not the one that the model was trained with")
        one = torch.zeros(1, dtype=torch.int64)
        return {
            "size": 1,
            self.key: {"tensors": {"pixel_values": given["pixel_values"]}, "row": one, "slot": one, "slots": 1},
            "text": {
                "ids": ids.masked_fill(seen, 0),
                "positions": torch.arange(len(ids)),
                "lengths": [len(ids)],
                "media": {self.key: seen.nonzero()[:, 0]},
            },
        }


def copied(config: Any) -> Any:
    """A configuration without what was chosen for training: kinds of attention."""
    return type(config).from_dict(config.to_dict())


def longer(table: Tensor, rows: int) -> Tensor:
    """New rows are the mean of all: their logit is the mean of all logits, so that no text ever goes on with them."""
    added = rows - len(table)
    return torch.cat([table, table.mean(0, keepdim=True).expand(added, -1)]) if added else table
