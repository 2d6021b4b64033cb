import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, SiglipImageProcessorPil, ViTImageProcessorPil

from a2a_vision.pixels import ImageProcessor, Pixels

CLIP = {"mean": CLIPImageProcessorPil.image_mean, "std": CLIPImageProcessorPil.image_std}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

SIZES = [
    (224, 224),
    (375, 500),
    (500, 333),
    (31, 17),
    (8, 8),
    (225, 223),
    (448, 449),
    (97, 640),
    (640, 97),
    (1, 1),
    (300, 1),
    (2, 223),
    (900, 300),
    (1000, 401),
    (301, 900),
]


def grey_levels(got, wanted, std):
    """The largest difference, in steps of 1 / 255 before normalisation."""
    assert got.shape == wanted.shape
    assert got.dtype == torch.float32
    return ((got - wanted) * torch.tensor(std).view(-1, 1, 1) * 255).abs().max().item()


def stock(processor, image):
    return processor(image, return_tensors="pt").pixel_values[0]


@pytest.fixture(scope="module")
def clip():
    return Pixels(edge=224, crop=(224, 224), **CLIP), CLIPImageProcessorPil()


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_clip_processor_to_one_grey_level(clip, picture, size):
    ours, theirs = clip
    image = picture(*size)
    assert grey_levels(ours(image), stock(theirs, image), CLIP["std"]) <= 1.001


def test_equals_the_clip_processor_on_photos(clip, photos):
    ours, theirs = clip
    for file in photos:
        with Image.open(file) as image:
            assert grey_levels(ours(file), stock(theirs, image), CLIP["std"]) <= 1.001, file


def test_a_picture_that_needs_no_resizing_is_exact(clip, picture):
    ours, theirs = clip
    image = picture(224, 300)
    assert grey_levels(ours(image), stock(theirs, image), CLIP["std"]) < 1e-4


POLICIES = {
    "siglip": (SiglipImageProcessorPil, {}, {"stretch": (224, 224), **HALF}),
    "siglip-384": (SiglipImageProcessorPil, {"size": {"height": 56, "width": 96}}, {"stretch": (56, 96), **HALF}),
    "vit": (ViTImageProcessorPil, {}, {"stretch": (224, 224), "resample": 2, **HALF}),
    "dinov2": (BitImageProcessorPil, {"size": {"shortest_edge": 256}}, {"edge": 256, "crop": (224, 224), **CLIP}),
    "crop only": (CLIPImageProcessorPil, {"do_resize": False}, {"crop": (224, 224), **CLIP}),
    "crop beyond the picture": (
        CLIPImageProcessorPil,
        {"size": {"shortest_edge": 20}, "crop_size": {"height": 33, "width": 48}},
        {"edge": 20, "crop": (33, 48), **CLIP},
    ),
    "nearest": (CLIPImageProcessorPil, {"resample": 0}, {"edge": 224, "crop": (224, 224), "resample": 0, **CLIP}),
    "lanczos": (CLIPImageProcessorPil, {"resample": 1}, {"edge": 224, "crop": (224, 224), "resample": 1, **CLIP}),
    "box": (CLIPImageProcessorPil, {"resample": 4}, {"edge": 224, "crop": (224, 224), "resample": 4, **CLIP}),
    "not rescaled": (
        CLIPImageProcessorPil,
        {"do_rescale": False, "image_mean": [100.0] * 3, "image_std": [50.0] * 3},
        {"edge": 224, "crop": (224, 224), "factor": 1.0, "mean": (100.0,), "std": (50.0,)},
    ),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("size", [(240, 320), (500, 333), (25, 31), (600, 200)])
def test_equals_the_other_processors(picture, name, size):
    make, options, ours = POLICIES[name]
    image = picture(*size)
    unit = 1 / 255 if "factor" in ours else 1
    std = [number * unit for number in ours["std"]]
    assert grey_levels(Pixels(**ours)(image), stock(make(**options), image), std) <= 1.001


@pytest.mark.parametrize("size", [(1, 700), (700, 1), (3, 900), (40, 4000)])
def test_extreme_shapes_make_the_crop_alone(picture, size):
    image = picture(*size)
    ours = Pixels(edge=16, crop=(16, 16), **CLIP)
    theirs = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    assert grey_levels(ours(image), stock(theirs, image), CLIP["std"]) <= 1.001


def test_any_shape_to_any_other():
    random = np.random.default_rng(0)
    for _ in range(300):
        height, width, high, wide = (int(side) for side in np.exp(random.uniform(0, 5, 4)))
        image = Image.fromarray(random.choice([0, 30, 200, 255], (height, width, 3)).astype(np.uint8))
        resample = int(random.choice([1, 2, 3]))
        got = Pixels(stretch=(high, wide), resample=resample, factor=1.0, mean=(0,), std=(1,))(image)
        wanted = np.asarray(image.resize((wide, high), resample)).astype(np.float32).transpose(2, 0, 1)
        assert np.abs(got.numpy() - wanted).max() <= 1, (height, width, high, wide, resample)


def test_a_picture_of_one_row_needs_no_memory_for_what_is_cropped_away():
    image = Image.new("RGB", (200_000, 1), "red")  # 224 x 44,800,000 pixels when resized whole
    assert Pixels(edge=224, crop=(224, 224), **CLIP)(image).shape == (3, 224, 224)


def test_grey(picture):
    image = picture(50, 40, "L")
    got = Pixels(stretch=(20, 24), mean=(0.5,), std=(0.25,), channels=1)(image)
    small = np.asarray(image.resize((24, 20), Image.Resampling.BICUBIC)) / 255
    assert got.shape == (1, 20, 24)
    assert grey_levels(got, torch.from_numpy((small - 0.5) / 0.25)[None], [0.25]) <= 1.001


def test_normalised_values_are_exact_against_float64():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    got = Pixels(crop=(16, 16), **CLIP)(ramp)
    wanted = (ramp / 255.0 - np.reshape(CLIP["mean"], (3, 1, 1))) / np.reshape(CLIP["std"], (3, 1, 1))
    assert np.abs(got.double().numpy() - wanted).max() < 5e-7
    assert got.is_contiguous()


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match="different sizes"):
        Pixels(edge=224, **CLIP)


def test_the_processor_pads_pickles_and_has_a_dummy(picture):
    processor = ImageProcessor(Pixels(stretch=(8, 12), **HALF), length=6)
    buffer = io.BytesIO()
    picture(9, 9).save(buffer, "PNG")
    items = [processor(picture(5, 6)), pickle.loads(pickle.dumps(processor))(buffer.getvalue()), processor.dummy()]
    batch = processor.pad(items)["pixel_values"]
    assert batch.shape == (3, 3, 8, 12)
    assert [item.length for item in items] == [6, 6, 6]
    assert batch[2].abs().max() == 0
    assert torch.equal(batch[1], items[1].tensors["pixel_values"])
