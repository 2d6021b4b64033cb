"""Whole multimodal models, exported and opened by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForMultimodalLM, AutoProcessor

from a2a_core import A2AError, RunFailed
from a2a_core.data import Collate
from a2a_core.formats import chosen, export_as, exporters, offers
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_llm.hf_multimodal import HfMultimodal
from a2a_llm.lm import LmHead

NAMES = ("llava", "llava-siglip", "vipllava", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen2_audio")


class Talk:
    """What a chat collator says of its conversations."""

    stop = (1,)
    template = "{{ messages[0].content }}"


COLLATE = Collate(Talk())  # type: ignore[arg-type]


def made(options: dict[str, Any]) -> A2AModel:
    torch.manual_seed(0)
    fusion = HfMultimodal(**options).resolved()
    return A2AModel.from_parts(Parts(fusion=fusion, heads={"lm": LmHead()})).train(False)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_its_own_class_with_the_same_logits(name: str, kit: Any, tmp_path: Path) -> None:
    model = made(kit.models[name])
    written = export_as(model, COLLATE, chosen(offers(model, COLLATE), None), tmp_path / "out")
    assert written.format == "transformers"
    assert written.difference < 1e-5
    again: Any = AutoModelForMultimodalLM.from_pretrained(written.folder)
    assert type(again) is type(model.fusion.model)
    assert again.generation_config.eos_token_id == 1
    assert bool(written.notes) == ("vl" in name), "of videos"
    media = model.parts.fusion.media()
    if "image" in media:
        picture = Image.fromarray(kit.picture(20, 33))
        found: Any = AutoImageProcessor.from_pretrained(written.folder)  # type: ignore[no-untyped-call]
        wanted = media["image"].processor(picture).tensors["pixel_values"]
        torch.testing.assert_close(found(images=[picture], return_tensors="pt")["pixel_values"].reshape(wanted.shape), wanted)


@pytest.mark.parametrize("name", ["llava", "llava-siglip", "vipllava"])
def test_its_processor_gives_a_picture_its_places(name: str, kit: Any, tmp_path: Path) -> None:
    model = made(kit.models[name])
    export_as(model, COLLATE, chosen(offers(model, COLLATE), "transformers"), tmp_path / "out")
    processor: Any = AutoProcessor.from_pretrained(tmp_path / "out")  # type: ignore[no-untyped-call]
    picture = Image.fromarray(kit.picture(20, 33))
    given = processor(images=[picture], text="It is <image>?", return_tensors="pt")
    places = int((given["input_ids"] == model.fusion.model.config.image_token_id).sum())
    assert places == model.parts.fusion.media()["image"].processor(picture).length
    assert processor.apply_chat_template([{"role": "user", "content": "Who?"}]) == "Who?"


def test_other_settings_and_other_weights_are_found(kit: Any, tmp_path: Path) -> None:
    model = made(kit.models["qwen2_vl"])
    exporter: Any = exporters(model, COLLATE)["transformers"]
    exporter.write(tmp_path / "out")
    file = tmp_path / "out" / "preprocessor_config.json"
    table = json.loads(file.read_text())
    file.write_text(json.dumps({**table, "rescale_factor": 0.5}))
    with pytest.raises(RunFailed, match=r"`rescale_factor` of what prepares media is 0.5"):
        exporter.compare(tmp_path / "out")
    model.heads["more"] = torch.nn.Linear(2, 2)
    with pytest.raises(A2AError, match="no place for `heads.more`"):
        chosen(offers(model, COLLATE), "transformers")
