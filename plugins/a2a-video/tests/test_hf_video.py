"""hf-video against the models of transformers themselves, saved and opened again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import VideoMAEImageProcessorPil, VivitImageProcessor

from a2a_core import A2AError, Segment
from a2a_core.testing import Check, checks
from a2a_video.hf_video import HfVideoEncoder
from a2a_video.hf_video_model import sinusoids
from a2a_video.sampling import Sampling, sampled
from a2a_video.video import example_files

WIDTHS = {"hidden_size": 24, "num_attention_heads": 2}
SIZES = {**WIDTHS, "num_hidden_layers": 3, "intermediate_size": 32}
CLIPS = {"image_size": 16, "patch_size": 4, "num_frames": 4}
PREDICTOR = {"pred_hidden_size": 24, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 2}
VJEPA = {"crop_size": 16, "patch_size": 4, "frames_per_clip": 4, "num_hidden_layers": 3, "mlp_ratio": 2, **PREDICTOR}
TOWERS = {"num_spatial_layers": 2, "num_temporal_layers": 1, "num_auxiliary_layers": 1, "intermediate_size": 32}
PRISM = {"image_size": 16, "num_frames": 4, "tubelet_size": [1, 4, 4], **TOWERS}
MODELS: dict[str, tuple[dict[str, Any], int, int]] = {
    "videomae": ({**SIZES, **CLIPS}, 32, 0),
    "vivit": ({**SIZES, "image_size": 16, "num_frames": 4, "tubelet_size": [2, 4, 4]}, 32, 1),
    "timesformer": ({**SIZES, **CLIPS}, 64, 1),
    "vjepa2": ({**WIDTHS, **VJEPA}, 32, 0),
    "videoprism_vision_model": ({**WIDTHS, **PRISM}, 64, 0),
}
"""Model type -> its configuration, tubelets of a clip, class tokens."""
LAYERED = [name for name in MODELS if name != "videoprism_vision_model"]


def config_of(name: str) -> Any:
    return transformers.AutoConfig.for_model(name, **MODELS[name][0])


def enliven(model: Any) -> Any:
    """Weights, norms and positions that matter."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def saved(folder: Path, name: str) -> Any:
    model = enliven(transformers.AutoModel.from_config(config_of(name)))
    model.save_pretrained(folder)
    return model


def stock(model: Any, pixels: torch.Tensor, **options: Any) -> Any:
    with torch.no_grad():
        return model(**{model.main_input_name: pixels}, **options)


def loaded(config: HfVideoEncoder) -> tuple[HfVideoEncoder, Any]:
    whole = config.resolved()
    module: Any = whole.build().eval()
    whole.load(module)
    return whole, module


def encoded(config: HfVideoEncoder, pixels: torch.Tensor) -> torch.Tensor:
    whole, module = loaded(config)
    with torch.no_grad():
        tokens = module(pixel_values=pixels)
    assert tokens.mask.all()
    assert tokens.mask.shape == tokens.values.shape[:2]
    dummy = whole.processor().dummy()
    assert tokens.values.shape[1] == dummy.length
    assert dummy.tensors["pixel_values"].shape == pixels.shape[1:]
    assert module.width == tokens.values.shape[2] == 24
    return tokens.values


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_the_model_itself(tmp_path: Path, name: str) -> None:
    model, pixels = saved(tmp_path, name), torch.randn(2, 4, 3, 16, 16)
    wanted = stock(model, pixels).last_hidden_state
    _, tubelets, first = MODELS[name]
    assert wanted.shape == (2, tubelets + first, 24)
    for select, part in (("all", wanted), ("tubelet", wanted[:, first:]), ("cls", wanted[:, :first])):
        if select == "cls" and not first:
            with pytest.raises(A2AError, match="has no class token"):
                HfVideoEncoder(path=tmp_path, select="cls").processor()
            continue
        found = encoded(HfVideoEncoder(path=tmp_path, select=select), pixels)
        torch.testing.assert_close(found, part, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("positions", "width"), [(64, 24), (9, 7), (1, 2)])
def test_positions_are_those_of_videomae(positions: int, width: int) -> None:
    from transformers.models.videomae.modeling_videomae import get_sinusoid_encoding_table

    assert torch.equal(sinusoids(positions, width), get_sinusoid_encoding_table(positions, width))


@pytest.mark.parametrize("name", LAYERED)
@pytest.mark.parametrize("layer", [1, 2, -1, -2])
def test_layers_are_those_of_the_model_itself(tmp_path: Path, name: str, layer: int) -> None:
    model, pixels = saved(tmp_path, name), torch.randn(2, 4, 3, 16, 16)
    wanted = stock(model, pixels, output_hidden_states=True).hidden_states[layer]
    found = encoded(HfVideoEncoder(path=tmp_path, layer=layer, select="all"), pixels)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("head", "base"),
    [
        ("VideoMAEForPreTraining", "videomae"),
        ("VideoMAEForVideoClassification", "videomae"),
        ("VivitForVideoClassification", "vivit"),
        ("TimesformerForVideoClassification", "timesformer"),
        ("VJEPA2ForVideoClassification", "vjepa2"),
        ("VideoPrismForVideoClassification", "videoprism_vision_model"),
    ],
)
def test_of_a_whole_checkpoint_the_backbone_is_taken(tmp_path: Path, head: str, base: str) -> None:
    model = enliven(getattr(transformers, head)(config_of(base)))
    model.save_pretrained(tmp_path)
    pixels = torch.randn(1, 4, 3, 16, 16)
    backbone = next(part for part in model.modules() if type(part) is transformers.MODEL_MAPPING[type(model.config)])
    wanted = stock(backbone, pixels).last_hidden_state
    found = encoded(HfVideoEncoder(path=tmp_path, select="all"), pixels)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_of_videoprism_with_text_the_video_model_is_taken(tmp_path: Path) -> None:
    text = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 30}
    config = transformers.VideoPrismConfig(vision_config=MODELS["videoprism_vision_model"][0], text_config=text)
    model = enliven(transformers.VideoPrismClipModel(config))
    model.save_pretrained(tmp_path)
    pixels = torch.randn(1, 4, 3, 16, 16)
    wanted = stock(model.video_model.vision_model, pixels).last_hidden_state
    torch.testing.assert_close(encoded(HfVideoEncoder(path=tmp_path), pixels), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["videomae", "vjepa2"])
def test_clips_of_another_number_of_frames(tmp_path: Path, name: str) -> None:
    model, pixels = saved(tmp_path, name), torch.randn(2, 8, 3, 16, 16)
    if name == "videomae":  # its positions are computed, for as many as the configuration says
        longer = transformers.AutoModel.from_pretrained(
            tmp_path, config=transformers.VideoMAEConfig(**{**MODELS[name][0], "num_frames": 8})
        )
        model = longer.eval()
    found = encoded(HfVideoEncoder(path=tmp_path, num_frames=8), pixels)
    torch.testing.assert_close(found, stock(model, pixels).last_hidden_state, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("vivit", "embeddings.position_embeddings"),
        ("timesformer", "embeddings.time_embeddings"),
        ("videoprism_vision_model", "temporal_embeddings.position_embeddings"),
    ],
)
def test_models_that_learned_where_frames_stand_take_no_other_number(tmp_path: Path, name: str, tensor: str) -> None:
    saved(tmp_path, name)
    with pytest.raises(A2AError, match=f"in another shape: {tensor}"):
        loaded(HfVideoEncoder(path=tmp_path, num_frames=8))


@pytest.mark.parametrize(("name", "layer"), [*((name, None) for name in MODELS), *((name, -2) for name in LAYERED)])
def test_every_trainable_parameter_gets_a_gradient(name: str, layer: int | None) -> None:
    module: Any = HfVideoEncoder(config={"model_type": name, **MODELS[name][0]}, layer=layer).build()
    module(pixel_values=torch.randn(2, 4, 3, 16, 16)).values.square().sum().backward()
    lost = [key for key, parameter in module.named_parameters() if parameter.requires_grad != (parameter.grad is not None)]
    assert lost == []
    assert not [key for key in module.state_dict() if "pooler" in key or "predictor" in key]


VARIANTS = {
    "vivit": HfVideoEncoder(config={"model_type": "vivit", **MODELS["vivit"][0]}),
    "class token": HfVideoEncoder(config={"model_type": "timesformer", **MODELS["timesformer"][0]}, select="cls", layer=2),
    "joint": HfVideoEncoder(
        config={"model_type": "timesformer", **MODELS["timesformer"][0], "attention_type": "joint_space_time"}
    ),
    "vjepa2": HfVideoEncoder(config={"model_type": "vjepa2", **MODELS["vjepa2"][0]}, num_frames=2),
    "videoprism": HfVideoEncoder(config={"model_type": "videoprism_vision_model", **MODELS["videoprism_vision_model"][0]}),
    "grey": HfVideoEncoder(config={"model_type": "videomae", **MODELS["videomae"][0], "num_channels": 1}),
}


@pytest.mark.parametrize(
    "check",
    [pytest.param(check, id=f"{name}-{check.name}") for name, config in VARIANTS.items() for check in checks(config)],
)
def test_other_models_pass_the_kit(check: Check) -> None:
    check()


FRAMES = [np.random.default_rng(0).integers(0, 256, (50, 67, 3), dtype=np.uint8) for _ in range(2)]
SMOOTH = [np.add.outer(np.arange(50), np.arange(67))[..., None].repeat(3, 2).astype(np.uint8)]


@pytest.mark.parametrize(
    ("model_type", "processor", "grey"),
    [
        ("videomae", VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}), 2 / 255),
        (
            "timesformer",
            VideoMAEImageProcessorPil(
                size={"shortest_edge": 32},
                crop_size={"height": 32, "width": 32},
                image_mean=[0.485, 0.456, 0.406],
                image_std=[0.229, 0.224, 0.225],
            ),
            1 / 0.224 / 255,
        ),
        ("vivit", VivitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}), 4 / 255),
        (
            "vjepa2",
            VideoMAEImageProcessorPil(
                size={"shortest_edge": int(32 * 256 / 224)},
                crop_size={"height": 32, "width": 32},
                image_mean=[0.485, 0.456, 0.406],
                image_std=[0.229, 0.224, 0.225],
            ),
            1 / 0.224 / 255,
        ),
    ],
)
def test_frames_are_prepared_as_by_the_stock_processor(model_type: str, processor: Any, grey: float, tmp_path: Path) -> None:
    """Without a file and with the one that the processor saves; to one grey level."""
    values = {**MODELS[model_type][0], ("crop_size" if model_type == "vjepa2" else "image_size"): 32}
    frames = FRAMES + SMOOTH
    wanted = np.stack(processor(list(frames), return_tensors="np")["pixel_values"][0])
    transformers.AutoConfig.for_model(model_type, **values).save_pretrained(tmp_path)
    bare = HfVideoEncoder(path=tmp_path)
    processor.save_pretrained(tmp_path)
    for encoder in (bare, HfVideoEncoder(path=tmp_path), HfVideoEncoder(path=tmp_path).resolved()):
        pixels = encoder.processor().pixels
        found = np.stack([pixels(frame).numpy() for frame in frames])
        assert found.shape == wanted.shape == (3, 3, 32, 32)
        assert np.abs(found - wanted).max() <= grey * 1.001
        assert np.abs(found - wanted).mean() < grey / 4


def test_videoprism_squeezes_frames_and_does_not_normalise() -> None:
    encoder = HfVideoEncoder(config={"model_type": "videoprism_vision_model", **MODELS["videoprism_vision_model"][0]})
    found = encoder.processor().pixels(np.full((30, 50, 3), 51, np.uint8))
    torch.testing.assert_close(found, torch.full((3, 16, 16), 0.2))


def test_v_jepa_goes_by_its_crop_whatever_the_size(tmp_path: Path) -> None:
    config_of("vjepa2").save_pretrained(tmp_path)
    (tmp_path / "video_preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 99}, "crop_size": 16}))
    assert HfVideoEncoder(path=tmp_path).resolved().preprocess["size"] == {"shortest_edge": 18}
    own = HfVideoEncoder(path=tmp_path, preprocess={"size": {"shortest_edge": 20}})
    assert own.resolved().resolved().preprocess["size"] == {"shortest_edge": 20}


def test_a_clip_is_the_frames_that_sampling_finds(tmp_path: Path) -> None:
    video = example_files(tmp_path)[0]
    processor = HfVideoEncoder(config={"model_type": "videomae", **MODELS["videomae"][0]}).processor()
    for raw in (video, Segment(video, 0.2, 0.5)):
        item = processor(raw)
        frames = [picture for _, picture in sampled(raw, Sampling("uniform", 4))]
        assert item.length == 32
        assert torch.equal(item.tensors["pixel_values"], torch.stack([processor.pixels(picture) for picture in frames]))
    once = processor(Segment(video, 0.21, 0.29)).tensors["pixel_values"]
    assert all(torch.equal(frame, once[0]) for frame in once)
    with pytest.raises(ValueError, match="past the end"):
        processor(Segment(video, 9.0, 10.0))


def test_a_resolved_encoder_needs_the_directory_no_more(tmp_path: Path) -> None:
    saved(tmp_path / "model", "vivit")
    VivitImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}).save_pretrained(tmp_path / "model")
    whole = HfVideoEncoder(path=tmp_path / "model", num_frames=4).resolved()
    (tmp_path / "model").rename(tmp_path / "gone")
    assert whole.build().width == 24
    assert whole.resolved() == whole
    assert whole.preprocess["offset"] is True
    assert torch.equal(whole.processor().pixels(np.zeros((16, 16, 3), np.uint8)), torch.full((3, 16, 16), -3.0))


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    saved(tmp_path, "videomae")
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["encoder.layer.1.layernorm_before.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(A2AError, match=r"lacks 1 of the model's weights: encoder.layer.1.layernorm_before.weight"):
        loaded(HfVideoEncoder(path=tmp_path))
    loaded(HfVideoEncoder(path=tmp_path, layer=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `path`"),
        ({"config": {"hidden_size": 8}}, "needs a `model_type`"),
        ({"config": {"model_type": "vit"}}, "`hf-video` runs timesformer, videomae, .*, but no `vit` model"),
        ({"config": {"model_type": "videomae"}, "layer": 0}, "`layer` = 0"),
        ({"config": {"model_type": "videomae"}, "preprocess": {"sise": 1}}, "unknown key `sise`"),
        ({"config": {"model_type": "videomae"}, "num_frames": 0}, "must be > 0"),
        ({"path": Path("nowhere")}, "there is no model at"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HfVideoEncoder(**options)


MAE, TIME = {"model_type": "videomae", **MODELS["videomae"][0]}, {"model_type": "timesformer", **MODELS["timesformer"][0]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": {**MAE, "hiden_size": 8}}, r"unknown key `hiden_size` for model type `videomae`\n.*`hidden_size`"),
        ({"config": MAE, "num_frames": 5}, "a clip of 5 frames is no multiple of 2, the frames of a `videomae` tubelet"),
        (
            {"config": MAE, "preprocess": {"crop_size": 24}},
            "makes frames of 24 x 24 pixels, and the `videomae` model takes 16 x 16",
        ),
        ({"config": MAE, "preprocess": {"offset": True, "do_rescale": False}}, "`offset` goes with `do_rescale`"),
        ({"config": MAE, "preprocess": {"offset": 1}}, "`offset` = 1 must be true or false"),
        ({"config": MAE, "layer": 4}, "`layer` = 4, but the model has 3 layers"),
        ({"config": {**MAE, "num_attention_heads": 5}}, "cannot build this `videomae` model"),
        ({"config": {**TIME, "attention_type": "space_only"}}, "makes tokens of single frames, not of clips"),
        ({"config": {"model_type": "videoprism_vision_model"}, "layer": 1}, "`layer` cannot be counted"),
    ],
)
def test_models_that_cannot_be_used_say_why(options: dict[str, Any], message: str) -> None:
    with pytest.raises(A2AError, match=message):
        HfVideoEncoder(**options).resolved().build()


def test_a_directory_of_another_model(tmp_path: Path) -> None:
    transformers.ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(A2AError, match="no `vit` model"):
        HfVideoEncoder(path=tmp_path).resolved()
