"""A vision tower, two linear layers and a language model against LlavaForConditionalGeneration, by hand and exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaConfig, LlavaForConditionalGeneration

from a2a_core import A2AError, RunFailed
from a2a_core.data import Collate
from a2a_core.formats import chosen, export_as, exporters, offers, outputs
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_llm.causal_lm import CausalLm
from a2a_llm.lm import LmHead
from a2a_llm.mlp import MlpProjector
from a2a_llm.next_token import NextToken

hf_vision = pytest.importorskip("a2a_vision.hf_vision", reason="the tower is a2a-vision's")

VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 12}
TEXT = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 259}
TEMPLATE = (
    "{%- for message in messages -%}{{ message.role ~ ': ' ~ message.content ~ '\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ 'assistant:' }}{%- endif -%}"
)


class Nothing:
    """What a chat collator says of its conversations, and no batch."""

    stop = (1, 5)
    template: str | None = TEMPLATE


COLLATE = Collate(Nothing())  # type: ignore[arg-type]


@pytest.fixture
def composed() -> Callable[..., A2AModel]:
    """The composition; keywords replace its parts' options."""
    return compose


def compose(
    tower: str = "clip_vision_model",
    language: str = "llama",
    layer: int | None = -2,
    select: str = "patch",
    preprocess: dict[str, Any] | None = None,
    projector: MlpProjector | None = None,
    adapters: tuple[Any, ...] = (),
    **text: Any,
) -> A2AModel:
    vision = {"model_type": tower, "patch_size": 4, **VISION}
    encoder = hf_vision.HfVisionEncoder(config=vision, layer=layer, select=select, preprocess=preprocess or {})
    config = {"model_type": language, "max_position_embeddings": 128, "num_key_value_heads": 2, **TEXT, **text}
    parts = Parts(
        encoders={"image": encoder.resolved()},
        projectors={"image": projector or MlpProjector()},
        fusion=CausalLm(config=config).resolved(),
        heads={"lm": LmHead()},
        losses={"lm": NextToken(head="lm")},
        adapters=adapters,
    )
    torch.manual_seed(1)
    return A2AModel.from_parts(parts).train(False)


def rows(vocabulary: int, items: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Two texts, the first with one picture and the second with two: our inputs and targets, and LLaVA's inputs."""
    torch.manual_seed(2)
    mark, pixels = vocabulary - 1, torch.randn(3, 3, 12, 12)
    first = [5, *[mark] * items, 9, 7, 30, 4]
    second = [*[mark] * items, 8, *[mark] * items, 6, 11]
    ids, lengths = torch.tensor(first + second), [len(first), len(second)]
    seen, one, many = ids == mark, torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1])
    inputs = {
        "size": 2,
        "image": {"tensors": {"pixel_values": pixels}, "row": one, "slot": many, "slots": 2},
        "text": {
            "ids": ids.masked_fill(seen, 0),
            "positions": torch.cat([torch.arange(length) for length in lengths]),
            "lengths": lengths,
            "media": {"image": seen.nonzero()[:, 0]},
        },
    }
    index = torch.tensor([len(first) - 3, len(first) - 2, len(ids) - 3, len(ids) - 2])
    targets = {"lm": {"index": index, "labels": ids[index + 1], "weights": torch.ones(4), "row": torch.tensor([0, 0, 1, 1])}}
    padded = torch.zeros(2, max(lengths), dtype=torch.int64)
    labels = torch.full_like(padded, -100)
    for row, (text, length) in enumerate(zip(ids.split(lengths), lengths, strict=True)):
        padded[row, :length] = text
        labels[row, length - 2 : length] = text[-2:]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    stock = {"input_ids": padded, "attention_mask": mask.long(), "pixel_values": pixels, "labels": labels}
    return inputs, targets, stock


def renamed(name: str) -> str:
    """LLaVA's name of a tensor of the composition."""
    for ours, theirs in {
        "encoders.image.model.": "model.vision_tower.",
        "projectors.image.layers.0.": "model.multi_modal_projector.linear_1.",
        "projectors.image.layers.2.": "model.multi_modal_projector.linear_2.",
        "fusion.model.model.": "model.language_model.",
        "fusion.model.lm_head.": "lm_head.",
    }.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise AssertionError(name)


@pytest.mark.parametrize("language", ["llama", "qwen2"])
@pytest.mark.parametrize(("tower", "strategy"), [("clip_vision_model", "default"), ("siglip_vision_model", "full")])
def test_logits_loss_and_gradients_are_llavas(tower: str, strategy: str, language: str) -> None:
    ours = compose(tower, language)
    config = LlavaConfig(
        vision_config={"model_type": tower, "patch_size": 4, **VISION},
        text_config=ours.fusion.model.config.to_dict(),
        image_token_index=258,
        vision_feature_layer=-2,
        vision_feature_select_strategy=strategy,
    )
    theirs: Any = LlavaForConditionalGeneration(config).train(False)
    state = {renamed(name): tensor for name, tensor in ours.state_dict().items()}
    left = theirs.load_state_dict(state, strict=False)
    assert not left.unexpected_keys
    assert all("vision_tower" in name and "layers.2." in name for name in left.missing_keys), "the layer that is not read"
    inputs, targets, stock = rows(259, 9)
    wanted = theirs(**stock)
    logits = outputs(ours, inputs)["logits"]
    expected = torch.cat(
        [row[: int(length)] for row, length in zip(wanted.logits, stock["attention_mask"].sum(1), strict=True)]
    )
    torch.testing.assert_close(logits, expected.detach(), atol=1e-5, rtol=1e-5)
    total = ours(inputs, targets, ["lm"]).totals["lm/next_token"]
    loss = total / ours.counts({"inputs": inputs, "targets": targets})["lm/next_token"]
    torch.testing.assert_close(loss, wanted.loss, atol=1e-5, rtol=1e-5)
    loss.backward()
    wanted.loss.backward()
    gradients = {name: each.grad for name, each in theirs.named_parameters()}
    compared = 0
    for name, parameter in ours.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, gradients[renamed(name)], atol=1e-5, rtol=1e-5, msg=name)
            compared += int(parameter.grad.abs().max() > 1e-4)
    assert compared > 40


@pytest.mark.parametrize(
    "options",
    [
        {"tower": "clip_vision_model", "language": "llama"},
        {"tower": "clip_vision_model", "language": "qwen2", "tie_word_embeddings": True, "layer": None, "select": "all"},
        {"tower": "siglip_vision_model", "language": "qwen2", "layer": -1, "vocab_size": 320},
        {"tower": "siglip_vision_model", "language": "mistral", "preprocess": {"size": {"height": 12, "width": 12}}},
        {"tower": "clip_vision_model", "language": "qwen3", "layer": 1, "head_dim": 8},
        {"tower": "siglip_vision_model", "language": "llama", "layer": None},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_plain_transformers_opens_it_with_the_same_logits(options: dict[str, Any], tmp_path: Path) -> None:
    model = compose(**options)
    offer = chosen(offers(model, COLLATE), None)
    assert offer.name == "llava"
    written = export_as(model, COLLATE, offer, tmp_path / "out")
    assert written.difference < 1e-5
    normed = options["tower"] == "siglip_vision_model" and options.get("layer", -2) is None
    assert [note[:13] for note in written.notes] == ["the last norm"] * normed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    again: Any = AutoModelForImageTextToText.from_pretrained(written.folder)  # type: ignore[no-untyped-call]
    assert type(again) is LlavaForConditionalGeneration
    processor: Any = AutoProcessor.from_pretrained(written.folder)  # type: ignore[no-untyped-call]
    picture = photo()
    given = processor(images=[picture], text="Look: <image> what is it?", return_tensors="pt")
    ours = model.parts.encoders["image"].processor()(picture)
    torch.testing.assert_close(given["pixel_values"][0], ours.tensors["pixel_values"], atol=0.02, rtol=0)
    ids = given["input_ids"][0]
    seen = ids == again.config.image_token_id
    assert int(seen.sum()) == ours.length
    none = torch.zeros(1, dtype=torch.int64)
    inputs = {
        "size": 1,
        "image": {"tensors": {"pixel_values": given["pixel_values"]}, "row": none, "slot": none, "slots": 1},
        "text": {
            "ids": ids.masked_fill(seen, 0),
            "positions": torch.arange(len(ids)),
            "lengths": [len(ids)],
            "media": {"image": seen.nonzero()[:, 0]},
        },
    }
    wanted = outputs(model, inputs)["logits"]
    with torch.inference_mode():
        logits = again(**given).logits[0]
        blind = again(**{**given, "pixel_values": given["pixel_values"].flip(-1)}).logits[0]
    torch.testing.assert_close(logits[:, : wanted.shape[1]], wanted, atol=1e-5, rtol=1e-5)
    assert (blind - logits).abs().max() > 1e-4, "the picture counts"
    assert again.generation_config.eos_token_id == [1, 5]
    assert logits.shape[1] == max(260, options.get("vocab_size", 0))
    assert (logits.argmax(1) != again.config.image_token_id).all()


def photo() -> Image.Image:
    """A picture with a sky, a ground and something on it, larger than what the tower takes."""
    y, x = np.mgrid[:48, :64]
    sky = np.stack([120 + y, 150 + y, 255 - y], -1) * (y < 30)[..., None]
    ground = np.stack([90 + x, 110 + y, 40 + x // 2], -1) * (y >= 30)[..., None]
    found = (sky + ground).clip(0, 255).astype(np.uint8)
    found[(x - 30) ** 2 + (y - 25) ** 2 < 120] = (200, 40, 30)
    return Image.fromarray(found)


def test_its_chat_template_takes_parts_and_texts(composed: Callable[..., A2AModel], tmp_path: Path) -> None:
    model = composed()
    export_as(model, COLLATE, chosen(offers(model, COLLATE), "llava"), tmp_path / "out")
    processor: Any = AutoProcessor.from_pretrained(tmp_path / "out")  # type: ignore[no-untyped-call]
    parts = [{"type": "image"}, {"type": "text", "text": "Who?"}]
    for content in (parts, "<image>Who?"):
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        assert text == "user: <image>Who?\nassistant:"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"select": "cls"}, r'`select = "cls"`'),
        ({"tower": "vit", "layer": 1}, r"CLIP or a SigLIP.*`encoders.image` is `vit`"),
        ({"preprocess": {"size": 16, "crop_size": 16}}, "pictures of another size"),
        ({"projector": MlpProjector(layers=3)}, r"two linear layers of 24 channels"),
        ({"projector": MlpProjector(hidden_size=20)}, r"two linear layers of 24 channels"),
        ({"language": "olmo2"}, r"language model is one of llama.*this one is `olmo2`"),
    ],
)
def test_another_shape_is_refused_with_why(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(A2AError, match=f"cannot be written as `llava`: .*{reason}"):
        chosen(offers(compose(**options), COLLATE), "llava")


def test_another_computation_is_found_and_leaves_nothing(
    composed: Callable[..., A2AModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = composed(select="all")
    exporter: Any = exporters(model, COLLATE)["llava"]
    offer = chosen(offers(model, COLLATE), "llava")
    stock = type(exporter).config

    def other(self: Any, mark: int) -> Any:
        found = stock(self, mark)
        found.vision_config.hidden_act = "gelu"  # CLIP's is the quick one
        return found

    monkeypatch.setattr(type(exporter), "config", other)
    with pytest.raises(RunFailed, match="`llava` comes out otherwise than the model"):
        export_as(model, COLLATE, offer, tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(type(exporter), "class_tokens", 0)
    with pytest.raises(RunFailed, match="places"):
        export_as(model, COLLATE, offer, tmp_path / "out")
    monkeypatch.undo()
    tables = json.loads(json.dumps(exporter.encoder.preprocess))
    exporter.encoder.preprocess["image_mean"] = [0.1, 0.1, 0.1]
    processor = exporter.processor()
    exporter.encoder.preprocess.update(tables)
    monkeypatch.setattr(type(exporter), "processor", lambda self: processor)
    with pytest.raises(RunFailed, match="prepares pictures otherwise"):
        export_as(model, COLLATE, offer, tmp_path / "out")
    assert not list(tmp_path.iterdir())
