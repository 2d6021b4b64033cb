"""The format `clip`: a text tower and an image tower as transformers' CLIPModel or SiglipModel, with its processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import attrs
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoProcessor,
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    SiglipConfig,
    SiglipModel,
    SiglipProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from a2a_core.errors import RunFailed
from a2a_core.export import Exporter, apart, refuse_other
from a2a_core.pretrained.weights import quiet, reopened
from a2a_retrieval.composition import Composition, Side
from a2a_retrieval.written_tokenizers import PROBES, refuse_other_ids, tokenizer_of

FAMILIES: Final[dict[str, tuple[Any, Any, Any, Any]]] = {
    "clip": (CLIPConfig, CLIPModel, CLIPProcessor, CLIPImageProcessorPil),
    "siglip": (SiglipConfig, SiglipModel, SiglipProcessor, SiglipImageProcessorPil),
}
INPUTS: Final = {"clip": ("input_ids", "attention_mask"), "siglip": ("input_ids",)}
"""SigLIP was trained without a mask."""
PADDED: Final = 'texts are to be padded as in training: `padding="max_length"`, as SigLIP wants it'
UNSCALED: Final = "no loss of this model has a {}: that of the file is transformers' own"


class ClipExport(Exporter):
    """Pictures on one side, texts on the other, either way round."""

    def __init__(self, composition: Composition) -> None:
        self.composition = composition

    @property
    def opens(self) -> str:  # type: ignore[override]
        """By the family."""
        kind = "CLIPModel" if self.misfit() else FAMILIES[self.family][1].__name__
        return f"transformers: {kind} and AutoProcessor.from_pretrained(…)"

    def misfit(self) -> str:
        """Two towers of one family and width, and a head that takes their vectors as they are."""
        found = self.composition
        if reason := found.misfit():
            return reason
        kinds = {found.encoder(side).name for side in found.sides}
        if kinds != {"clip-text", "clip-image"}:
            return f"it has an encoder `clip-text` and a `clip-image`, and this model's are {' and '.join(sorted(kinds))}"
        if found.options.dimension is not None:
            return f"it has no projection behind those of the towers, and `heads.{found.head}` has `dimension`"
        types = [found.encoder(self.side(name)).config["model_type"] for name in ("clip-text", "clip-image")]
        if types[0].split("_")[0] != types[1].split("_")[0]:
            return f"both towers are of one family, and this model has a `{types[0]}` and a `{types[1]}`"
        images = self.image.processor().pixels.size
        if images != (self.towers[1].config.image_size, self.towers[1].config.image_size):
            return "it does not interpolate positions by itself, and `preprocess` makes pictures of another size"
        return ""

    def side(self, name: str) -> Side:
        """The side whose encoder is of that name."""
        return next(side for side in self.composition.sides if self.composition.encoder(side).name == name)

    @property
    def family(self) -> str:
        """CLIP or SigLIP."""
        return str(self.text.config["model_type"].split("_")[0])

    @property
    def text(self) -> Any:
        """The options of the text tower."""
        return self.composition.encoder(self.side("clip-text"))

    @property
    def image(self) -> Any:
        """The options of the image tower."""
        return self.composition.encoder(self.side("clip-image"))

    @property
    def towers(self) -> tuple[Any, Any]:
        """The models of transformers, text and image."""
        text, image = (self.composition.module(self.side(name)).model for name in ("clip-text", "clip-image"))
        return text, image

    def write(self, folder: Path) -> None:
        """Weights, configuration, tokenizer, how pictures are prepared."""
        model, state = self.built()
        model.load_state_dict(state)
        with quiet():
            model.save_pretrained(folder)
        processor = self.processor()
        processor.save_pretrained(folder)
        processor.image_processor.save_pretrained(folder)  # in a file of its own, where older programs look for it
        prefix = [f"texts are to be given with {self.text.prefix!r} before them"] if self.text.prefix else []
        absent = zip(("temperature", "bias"), self.composition.scale(), strict=True)
        names = [name for name, value in absent if value is None and (name != "bias" or self.family == "siglip")]
        self.notes = [*prefix, *([PADDED] if self.family == "siglip" else []), *(UNSCALED.format(name) for name in names)]

    def built(self) -> tuple[Any, dict[str, Tensor]]:
        """An empty model of the family, and its state."""
        config, owner, _, _ = FAMILIES[self.family]
        parts = {"text_config": self.towers[0].config.to_dict(), "vision_config": self.towers[1].config.to_dict()}
        whole = {"projection_dim": self.towers[0].config.projection_dim} if self.family == "clip" else {}
        model = owner(config(**parts, **whole)).to(torch.float32)
        # a whole tower of CLIP holds its projection beside itself, one of SigLIP within
        prefixes = ("", "") if self.family == "clip" else ("text_model.", "vision_model.")
        state = {
            prefix + name: value
            for prefix, tower in zip(prefixes, self.towers, strict=True)
            for name, value in tower.state_dict().items()
        }
        own = dict(zip(("logit_scale", "logit_bias"), self.composition.scale(), strict=True))
        for name, value in model.state_dict().items():
            given = own.get(name)
            if name in own:
                state[name] = value if given is None else given.detach().to(value).reshape(value.shape)
        return model, state

    def processor(self) -> Any:
        """The family's own, with our tokenizer and our way of preparing pictures."""
        _, _, processor, images = FAMILIES[self.family]
        settings = {**self.image.preprocess, "do_rescale": True, "do_normalize": True, "do_convert_rgb": True}
        return processor(image_processor=images(**settings), tokenizer=tokenizer_of(self.text, INPUTS[self.family]))

    def compare(self, folder: Path) -> float:
        """Tensors; a picture and texts through the reopened processor; vectors."""
        _, state = self.built()
        again = reopened(FAMILIES[self.family][1], folder)
        refuse_other(state, again.state_dict(), folder)
        auto: Any = AutoProcessor
        processor = auto.from_pretrained(folder, local_files_only=True)
        return max(self.texts_apart(again, processor, folder), self.pictures_apart(again, processor))

    def texts_apart(self, again: Any, processor: Any, folder: Path) -> float:
        """By how much texts' vectors are off."""
        ours = attrs.evolve(self.text, truncate=True).processor()
        texts = [self.text.prefix + text for text in PROBES]
        refuse_other_ids(processor.tokenizer(texts, truncation=True)["input_ids"], ours, folder)
        padding = "max_length" if self.family == "siglip" else True
        given = processor(text=texts, padding=padding, truncation=True, return_tensors="pt")
        tensors = ours.pad([ours(text) for text in PROBES])
        return self.apart(again.get_text_features(**given).pooler_output, "clip-text", tensors)

    def pictures_apart(self, again: Any, processor: Any) -> float:
        """By how much a picture's vector is off; RunFailed where it is prepared otherwise, by more than a grey level."""
        ours = self.image.processor()
        height, width = ours.pixels.size
        larger = (width + width // 3, height + height // 2)
        picture = Image.effect_mandelbrot(larger, (-2.0, -1.5, 1.0, 1.5), 100).convert("RGB")
        given = processor(images=[picture], return_tensors="pt")
        found, wanted = given["pixel_values"][0], ours(picture).tensors["pixel_values"]
        level = self.image.preprocess["rescale_factor"] / min(self.image.preprocess["image_std"])
        if found.shape != wanted.shape or float((found - wanted).abs().max()) > 1.01 * level:
            raise RunFailed("transformers' image processor prepares pictures otherwise than they were in training")
        return self.apart(again.get_image_features(**given).pooler_output, "clip-image", dict(given))

    def apart(self, found: Tensor, name: str, tensors: dict[str, Tensor]) -> float:
        """Of the model's own vectors."""
        found = F.normalize(found, dim=-1) if self.composition.options.normalise else found
        return apart(found, self.composition.vectors(self.side(name), tensors))
