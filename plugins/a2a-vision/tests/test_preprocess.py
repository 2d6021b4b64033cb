import json

import pytest
import torch
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, SiglipImageProcessorPil, ViTImageProcessorPil

from a2a_core import A2AError
from a2a_core.pretrained.configuration import read_preprocessor
from a2a_vision.preprocess import completed, pixels

LEGACY_CLIP = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}
LEGACY_VIT = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 224,
}
DINOV2 = {"size": {"shortest_edge": 256}, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def saved(processor, folder):
    processor.save_pretrained(folder)
    return read_preprocessor(folder, "image_processor")


@pytest.mark.parametrize(
    ("model_type", "processor"),
    [
        ("clip_vision_model", CLIPImageProcessorPil()),
        ("clip_vision_model", CLIPImageProcessorPil(size=96, crop_size=80, resample=2)),
        ("siglip_vision_model", SiglipImageProcessorPil()),
        ("vit", ViTImageProcessorPil(size={"height": 64, "width": 96})),
        ("vit", ViTImageProcessorPil(do_rescale=False, do_normalize=False)),
        ("dinov2", BitImageProcessorPil(**DINOV2)),
    ],
)
def test_what_a_processor_saved_does_the_same(tmp_path, picture, model_type, processor):
    table = completed(saved(processor, tmp_path), {}, model_type, (224, 224), 3)
    image = picture(120, 150)
    wanted = processor(image, return_tensors="pt").pixel_values[0]
    got = pixels(table, 3)(image)
    step = table["rescale_factor"] / torch.tensor(table["image_std"]).min()
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() <= 1.001 * step


@pytest.mark.parametrize(("legacy", "modern"), [(LEGACY_CLIP, CLIPImageProcessorPil()), (LEGACY_VIT, ViTImageProcessorPil())])
def test_old_files_mean_what_they_meant(tmp_path, legacy, modern):
    assert completed(legacy, {}, "vit", (224, 224), 3) == completed(saved(modern, tmp_path), {}, "vit", (224, 224), 3)


@pytest.mark.parametrize(
    ("model_type", "stock"),
    [
        ("clip_vision_model", CLIPImageProcessorPil),
        ("siglip_vision_model", SiglipImageProcessorPil),
        ("vit", ViTImageProcessorPil),
    ],
)
def test_without_a_file_a_model_gets_what_its_kind_does(tmp_path, model_type, stock):
    assert completed({}, {}, model_type, (224, 224), 3) == completed(saved(stock(), tmp_path), {}, model_type, (224, 224), 3)


def test_completing_twice_changes_nothing():
    for file in ({}, LEGACY_CLIP, LEGACY_VIT, {"do_resize": False, "do_normalize": False}, DINOV2):
        once = completed(file, {}, "dinov2", (32, 48), 3)
        assert completed({}, once, "dinov2", (32, 48), 3) == once
        assert json.loads(json.dumps(once)) == once


def test_the_recipe_overrides_the_file():
    table = completed(LEGACY_CLIP, {"size": 336, "crop_size": 336, "image_std": 0.5}, "clip_vision_model", (224, 224), 3)
    assert (table["size"], table["crop_size"]) == ({"shortest_edge": 336}, {"height": 336, "width": 336})
    assert table["image_std"] == [0.5]
    assert table["image_mean"] == LEGACY_CLIP["image_mean"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"do_pad": True}, "pads its pictures"),
        ({"size": {"longest_edge": 9}}, "`size` = .* is not understood"),
        ({"size": "big"}, "`size` = big is not understood"),
        ({"size": 0}, "`size` = .* is not understood"),
        ({"crop_size": {"shortest_edge": 9}}, "`crop_size` = .* is not understood"),
        ({"resample": 9}, "no filter of Pillow"),
        ({"do_resize": "yes"}, "true or false"),
        ({"image_mean": [0.5, 0.5]}, "for a model of 3 channels"),
        ({"image_std": [0.5, 0, 0.5]}, "`image_std`"),
        ({"image_mean": "x"}, "must be a number"),
        ({"rescale_factor": True}, "must be a number"),
        ({"size": {"shortest_edge": 8}, "do_center_crop": False}, "different sizes"),
        ({"do_resize": False, "do_center_crop": False}, "different sizes"),
    ],
)
def test_what_cannot_be_done_is_refused(table, message):
    with pytest.raises(A2AError, match=message):
        pixels(completed({}, table, "clip_vision_model", (8, 8), 3), 3)
