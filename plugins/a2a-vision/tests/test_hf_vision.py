"""hf-vision against the models of transformers themselves, saved and opened again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from a2a_core import A2AError
from a2a_core.testing import Check, checks
from a2a_vision.hf_vision import HfVisionEncoder

SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
WIDE = {**SIZES, "intermediate_size": 32}
MODELS = {
    "clip": (CLIPVisionModel, CLIPVisionConfig(**WIDE), 1),
    "siglip": (SiglipVisionModel, SiglipVisionConfig(**WIDE), 0),
    "dinov2": (Dinov2Model, Dinov2Config(**SIZES, mlp_ratio=2), 1),
    "vit": (ViTModel, ViTConfig(**WIDE), 1),
    "registers": (Dinov2WithRegistersModel, Dinov2WithRegistersConfig(**SIZES, mlp_ratio=2, num_register_tokens=2), 3),
    "dinov3": (DINOv3ViTModel, DINOv3ViTConfig(**WIDE, num_register_tokens=2, pos_embed_rescale=None), 3),
}


def saved(folder: Path, name: str) -> PreTrainedModel:
    cls, config, _ = MODELS[name]
    torch.manual_seed(0)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return model


def encoded(config: HfVisionEncoder, pixels: torch.Tensor) -> torch.Tensor:
    whole = config.resolved()
    module = whole.build().eval()
    whole.load(module)
    with torch.no_grad():
        tokens = module(pixel_values=pixels)
    assert tokens.mask.all()
    assert tokens.values.shape[1] == whole.processor().dummy().length
    assert module.width == tokens.values.shape[2] == 16
    return tokens.values


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layer", [None, -1, -2, 2])
def test_it_gives_the_hidden_states_of_the_model_itself(tmp_path: Path, name: str, layer: int | None) -> None:
    model, first = saved(tmp_path, name), MODELS[name][2]
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        output = model(pixel_values=pixels, output_hidden_states=True)
    wanted = output.last_hidden_state if layer is None else output.hidden_states[layer]
    found = encoded(HfVisionEncoder(path=tmp_path, layer=layer, select="all"), pixels)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.allclose(encoded(HfVisionEncoder(path=tmp_path, layer=layer), pixels), wanted[:, first:], atol=1e-5)


def test_the_class_token_alone(tmp_path: Path) -> None:
    model = saved(tmp_path, "vit")
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        wanted = model(pixel_values=pixels).last_hidden_state[:, :1]
    assert torch.allclose(encoded(HfVisionEncoder(path=tmp_path, select="cls"), pixels), wanted, atol=1e-5)


def test_a_model_without_class_token_says_so(tmp_path: Path) -> None:
    saved(tmp_path, "siglip")
    with pytest.raises((A2AError, ValueError), match="class token"):
        HfVisionEncoder(path=tmp_path, select="cls").resolved().build()


@pytest.mark.parametrize(("cls", "config"), [(CLIPModel, CLIPConfig), (SiglipModel, SiglipConfig)])
def test_of_a_whole_checkpoint_the_vision_tower_is_taken(tmp_path: Path, cls: Any, config: Any) -> None:
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 32}
    model = cls(config(text_config=text, vision_config=WIDE)).eval()
    model.save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        wanted = model.vision_model(pixel_values=pixels).last_hidden_state
    assert torch.allclose(encoded(HfVisionEncoder(path=tmp_path, select="all"), pixels), wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip", "vit", "dinov2"])
def test_pictures_of_another_size_have_their_positions_interpolated(tmp_path: Path, name: str) -> None:
    model = saved(tmp_path, name)
    pixels = torch.randn(2, 3, 24, 20)
    extra = {} if name == "dinov2" else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        wanted = model(pixel_values=pixels, **extra).last_hidden_state
    size = {"size": {"height": 24, "width": 20}, "do_center_crop": False}
    found = encoded(HfVisionEncoder(path=tmp_path, select="all", preprocess=size), pixels)
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_trainable_parameter_gets_a_gradient(tmp_path: Path, name: str) -> None:
    saved(tmp_path, name)
    module = HfVisionEncoder(path=tmp_path, layer=-2, select="all").resolved().build()
    module(pixel_values=torch.randn(1, 3, 16, 16)).values.square().sum().backward()
    lost = [key for key, parameter in module.named_parameters() if parameter.requires_grad and parameter.grad is None]
    assert lost == []


def test_a_resolved_encoder_needs_the_directory_no_more(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    saved(folder, "clip")
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}))
    whole = HfVisionEncoder(path=folder).resolved()
    folder.rename(tmp_path / "gone")
    assert whole.build().width == 16
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "red.png")
    item = whole.processor()(tmp_path / "red.png")
    assert torch.equal(item.tensors["pixel_values"][0], torch.ones(16, 16))
    assert torch.equal(item.tensors["pixel_values"][1], torch.zeros(16, 16))


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    saved(tmp_path, "clip")
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    name = next(key for key in state if key.endswith("layers.0.mlp.fc1.weight"))
    del state[name]
    save_file(state, file, metadata={"format": "pt"})
    whole = HfVisionEncoder(path=tmp_path).resolved()
    with pytest.raises(A2AError, match=r"mlp\.fc1\.weight"):
        whole.load(whole.build())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `path`"),
        ({"config": {"hidden_size": 8}}, "needs a `model_type`"),
        ({"config": {"model_type": "clip_vision_model"}, "layer": 0}, "`layer` = 0"),
        ({"config": {"model_type": "clip_vision_model"}, "preprocess": {"sise": 1}}, "unknown key `sise`"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HfVisionEncoder(**options)


def test_a_layer_that_is_not_there_is_refused() -> None:
    config = {"model_type": "clip_vision_model", **WIDE}
    with pytest.raises((A2AError, ValueError), match="layer"):
        HfVisionEncoder(config=config, layer=4).resolved().build()


VARIANTS = {
    "siglip": HfVisionEncoder(config={"model_type": "siglip_vision_model", **WIDE}),
    "class token": HfVisionEncoder(config={"model_type": "vit", **WIDE}, select="cls"),
    "registers": HfVisionEncoder(config=MODELS["registers"][1].to_dict(), layer=-2, select="all").resolved(),
    "rotary": HfVisionEncoder(config={"model_type": "dinov3_vit", **WIDE, "nulls": ["pos_embed_rescale"]}),
    "grey": HfVisionEncoder(config={"model_type": "vit", **WIDE, "num_channels": 1}),
}


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=f"{name}-{check.name}") for name, config in VARIANTS.items() for check in checks(config)],
)
def test_other_models_pass_the_kit(check: Check) -> None:
    check()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "clipp"}, "no model type `clipp`"),
        ({"model_type": "vit", "hiden_size": 8}, "unknown key `hiden_size` for model type `vit`.*\n.*`hidden_size`"),
        ({"model_type": "clip", "vision_config": {"patchsize": 8}}, "unknown key `patchsize`"),
        ({"model_type": "vit", "hidden_size": "8"}, "expected int, got str"),
        ({"model_type": "vit", "nulls": ["hiden_size"]}, "unknown key `hiden_size`"),
        ({"model_type": "bert"}, "cuts no picture into patches"),
        ({"model_type": "vit_mae", **WIDE}, "at random"),
        ({"model_type": "pixtral", **WIDE}, "side by side"),
        ({"model_type": "resnet"}, "cuts no picture into patches"),
    ],
)
def test_models_that_cannot_be_used_say_why(config: dict[str, Any], message: str) -> None:
    with pytest.raises(A2AError, match=message):
        HfVisionEncoder(config=config).resolved().build()


SWIN = {
    "model_type": "swin",
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 8,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "window_size": 2,
}


def test_a_model_that_merges_patches_gives_all_its_tokens_only() -> None:
    assert HfVisionEncoder(config=SWIN, select="all").processor().dummy().length == 16
    with pytest.raises(A2AError, match="merges its patches"):
        HfVisionEncoder(config=SWIN).processor()
    with pytest.raises(A2AError, match="has stages"):
        HfVisionEncoder(config=SWIN, select="all", layer=1).processor()


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    model = saved(tmp_path, "vit")
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    whole = HfVisionEncoder(path=tmp_path).resolved()
    with pytest.raises(A2AError, match="cannot be read"):
        whole.load(whole.build())


def test_damaged_weights_and_configurations_say_so(tmp_path: Path) -> None:
    saved(tmp_path, "vit")
    whole = HfVisionEncoder(path=tmp_path).resolved()
    (tmp_path / "model.safetensors").write_bytes(b"\x10" * 40)
    with pytest.raises(A2AError, match="cannot be read"):
        whole.load(whole.build())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(A2AError, match="cannot read this configuration"):
        HfVisionEncoder(path=tmp_path).resolved()
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no model at .*\(no config.json\)"):
        HfVisionEncoder(path=tmp_path)


def test_path_and_config_exclude_one_another(tmp_path: Path) -> None:
    saved(tmp_path, "vit")
    with pytest.raises(ValueError, match="not both"):
        HfVisionEncoder(path=tmp_path, config={"model_type": "vit"})


def test_layers_behind_the_one_that_is_used_are_left_out(tmp_path: Path) -> None:
    saved(tmp_path, "clip")
    whole = HfVisionEncoder(path=tmp_path, layer=-2).resolved().build()
    assert not [name for name, _ in whole.named_parameters() if "layers.2." in name]
    assert [name for name, _ in whole.named_parameters() if "layers.1." in name]


def test_weights_in_half_precision_are_loaded_in_full(tmp_path: Path) -> None:
    model = saved(tmp_path, "siglip").half()
    model.save_pretrained(tmp_path)
    whole = HfVisionEncoder(path=tmp_path).resolved()
    module = whole.build()
    whole.load(module)
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    weight = module.model.embeddings.patch_embedding.weight
    assert torch.equal(weight, model.embeddings.patch_embedding.weight.float())


def test_a_pooler_that_the_file_lacks_is_not_missed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(**WIDE), add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        wanted = model(pixels).last_hidden_state
    assert torch.allclose(encoded(HfVisionEncoder(path=tmp_path, select="all"), pixels), wanted, atol=1e-5)
