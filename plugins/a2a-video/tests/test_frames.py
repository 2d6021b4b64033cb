import math

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from a2a_core import A2AError, Item, Segment
from a2a_core.builtin.dummy import DummyEncoder
from a2a_core.model import A2AModel
from a2a_core.recipe import Parts
from a2a_core.testing import checks
from a2a_core.testing.reference import ReferenceFusion, ReferenceHead
from a2a_video.frames import FramesEncoder
from a2a_video.frames_model import RESOLUTION, Attention, Convolution, Layer, mean, waves
from a2a_video.frames_processor import FramesProcessor, change
from a2a_video.sampling import Sampling
from a2a_vision.hf_vision import HfVisionEncoder
from a2a_vision.patch import PatchEncoder

PATCH = PatchEncoder(width=16, layers=1, num_heads=2, dropout=0.1, image_size=8, patch_size=4)
CLIP = {"model_type": "clip_vision_model", "image_size": 8, "patch_size": 4, "hidden_size": 16, "intermediate_size": 32}
CLIP |= {"num_hidden_layers": 1, "num_attention_heads": 2}
SMALL = {"image": PATCH, "sampling": "fps", "fps": 8.0, "layers": 1, "num_heads": 2}
KINDS = {
    "conv": {"temporal": "conv", "kernel": 3},
    "none": {"temporal": "none"},
    "patches": {"pool": "none", "width": 12},
    "patches-conv": {"pool": "none", "temporal": "conv", "kernel": 5},
    "uniform": {"sampling": "uniform", "num_frames": 3, "layers": 2},
    "changes": {"look_at": "changes"},
    "frozen": {"image": attrs.evolve(PATCH, freeze=True)},
    "clip": {"image": HfVisionEncoder(config=CLIP)},
    "dummy": {"image": DummyEncoder(width=16, tokens=2), "pool": "none"},
}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0.0}, "`fps` must be > 0"),
        ({"fps": -1.0}, "`fps` must be > 0"),
        ({"num_frames": 0}, "`num_frames` must be >= 1"),
        ({"max_frames": 0}, "`max_frames` must be >= 1"),
        ({"kernel": 4}, "`kernel` = 4 must be odd"),
        ({"width": 10, "num_heads": 4}, "`width` = 10 must be a multiple of `num_heads` = 4"),
        ({"image": FramesEncoder(image=PATCH)}, "`frames` is one of video"),
        ({"image": attrs.evolve(PATCH, field="photo")}, "`image.field` has no meaning"),
        ({"image": attrs.evolve(PATCH, cache=True)}, "`image.cache` has no meaning"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FramesEncoder(**{"image": PATCH, **options})


def test_a_width_that_only_the_image_encoder_knows_is_refused_when_it_is_built():
    with pytest.raises(A2AError, match="the image encoder's width 16 must be a multiple of `num_heads` = 3"):
        FramesEncoder(image=PATCH, num_heads=3).build()


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{check.name}")
        for name, options in KINDS.items()
        for check in checks(FramesEncoder(**SMALL | options))
    ],
)
def test_every_kind_passes_the_kit(check):
    check()


def test_attention_is_the_pre_norm_layer_of_torch():
    layer = Layer(16, Attention(16, 2), 0.0)
    wanted = nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    pairs = (
        (wanted.norm1, layer.mixer_norm),
        (wanted.self_attn.out_proj, layer.mixer.out),
        (wanted.norm2, layer.mlp[0]),
        (wanted.linear1, layer.mlp[1]),
        (wanted.linear2, layer.mlp[4]),
    )
    for theirs, ours in pairs:
        nn.init.normal_(ours.weight)
        nn.init.normal_(ours.bias)
        theirs.load_state_dict(ours.state_dict())
    nn.init.normal_(layer.mixer.qkv.bias)
    wanted.self_attn.in_proj_weight.data.copy_(layer.mixer.qkv.weight)
    wanted.self_attn.in_proj_bias.data.copy_(layer.mixer.qkv.bias)
    values, mask = torch.randn(3, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]).bool()
    got = layer(values, mask)
    expected = wanted(values, src_key_padding_mask=~mask)
    assert torch.allclose(got[mask], expected[mask], atol=1e-4)


def test_a_row_that_sees_nothing_stays_finite():
    values = torch.randn(1, 4, 8, requires_grad=True)
    got = Attention(8, 2)(values, torch.zeros(1, 4, dtype=torch.bool))
    got.sum().backward()
    assert got.isfinite().all()
    assert values.grad.isfinite().all()


def test_the_convolution_sees_neighbouring_frames_of_its_own_channel():
    conv = Convolution(2, 3)
    values, mask = torch.randn(1, 6, 2), torch.tensor([[1, 1, 1, 1, 0, 0]]).bool()
    padded = torch.cat([torch.zeros(1, 2), values[0, :4], torch.zeros(3, 2)])
    weight, bias = conv.conv.weight[:, 0], conv.conv.bias
    wanted = torch.stack([(padded[t : t + 3] * weight.T).sum(0) + bias for t in range(6)])
    assert torch.allclose(conv(values, mask)[0], wanted, atol=1e-6)


def test_a_frame_is_the_mean_of_its_real_tokens():
    values, mask = torch.randn(2, 3, 4), torch.tensor([[1, 1, 0], [0, 0, 0]]).bool()
    got, there = mean(values, mask)
    assert torch.allclose(got[0, 0], values[0, :2].mean(0))
    assert there.tolist() == [[True], [False]]
    assert got[1].abs().max() == 0


def test_times_are_sines_and_cosines_of_seconds():
    seconds = torch.tensor([[0.0, 0.37, 12.5]])
    got = waves(seconds, 7)[0]
    for row, second in enumerate(seconds[0].tolist()):
        angles = [second / RESOLUTION / 1e4 ** (i / 4) for i in range(4)]
        wanted = [*map(math.sin, angles), *map(math.cos, angles)][:7]
        assert got[row].tolist() == pytest.approx(wanted, abs=2e-5)


def test_without_a_temporal_part_tokens_are_the_image_encoders_and_their_times(film):
    encoder = FramesEncoder(image=PATCH, temporal="none", pool="none", sampling="uniform", num_frames=4)
    processor, module = encoder.processor(), encoder.build().eval()
    batch = processor.pad([processor(film("a.mp4"))])
    tokens = module(**batch)
    alone = module.image(batch["pixel_values"][0]).values  # (4, 4, 16)
    wanted = alone + waves(batch["seconds"], 16)[0][:, None]
    assert torch.allclose(tokens.values[0], wanted.flatten(0, 1), atol=1e-6)
    assert batch["seconds"][0].tolist() == pytest.approx([0.375, 1.125, 1.875, 2.625])


@pytest.mark.parametrize("temporal", ["conv", "attention"])
def test_every_frame_matters_to_the_others(film, temporal):
    encoder = FramesEncoder(image=PATCH, temporal=temporal, num_frames=3, layers=1, num_heads=2)
    processor, module = encoder.processor(), encoder.build().eval()
    batch = processor.pad([processor(film("a.mp4"))])
    batch["pixel_values"].requires_grad_(True)
    module(**batch).values[0, 0, 0].backward()
    reached = batch["pixel_values"].grad[0].abs().amax((1, 2, 3)) > 0
    assert reached.tolist() == ([True, True, True] if temporal == "attention" else [True, True, False])


class CountingProcessor:
    deterministic = True

    def __init__(self):
        self.seen = 0

    def __call__(self, raw):
        assert raw.dtype == np.uint8
        self.seen += 1
        return Item({"x": torch.full((2,), float(raw.mean()))}, 3)

    def pad(self, items):
        return {"x": torch.stack([item.tensors["x"] for item in items])}

    def dummy(self):
        return Item({"x": torch.zeros(2)}, 3)


def test_a_frame_that_is_on_twice_is_prepared_once(film):
    image = CountingProcessor()
    item = FramesProcessor(image, Sampling("uniform", 9), pooled=False)(film("short.mp4", count=3))
    assert image.seen == 3
    assert item.tensors["x"].shape == (9, 2)
    assert item.length == 27
    assert FramesProcessor(image, Sampling("uniform", 9), pooled=True)(film("short.mp4", count=3)).length == 9


def test_changes_are_half_of_the_difference_around_mid_grey(film, drawn):
    item = FramesProcessor(Kept(), Sampling("uniform", 4), pooled=True, changes=True)(film("a.mkv", count=4, codec="ffv1"))
    pictures = [drawn(index).astype(int) for index in range(4)]
    assert item.tensors["x"][0].unique().tolist() == [128]
    for index in range(1, 4):
        wanted = 128 + (pictures[index] - pictures[index - 1]) / 2
        assert np.abs(item.tensors["x"][index].numpy() - wanted).mean() < 0.5  # colours are stored coarser
    extremes = np.uint8([[[0, 255, 3]]])
    assert change(extremes, 255 - extremes).tolist() == [[[255, 0, 252]]]
    assert change(extremes, np.zeros((2, 1, 3), np.uint8)).tolist() == [[[128] * 3]] * 2


class Kept(CountingProcessor):
    def __call__(self, raw):
        return Item({"x": torch.from_numpy(raw)}, 1)


def test_shorter_videos_are_filled_up_with_dummies(film):
    processor = FramesProcessor(CountingProcessor(), Sampling("fps", fps=10.0), pooled=True)
    items = [processor(film("a.mp4", count=5)), processor(Segment(film("b.mp4"), 0.5, 0.7))]
    batch = processor.pad(items)
    assert batch["frame_mask"].tolist() == [[True] * 5, [True, True, False, False, False]]
    assert batch["x"].shape == (2, 5, 2)
    assert torch.equal(batch["x"][1, :2], items[1].tensors["x"])
    assert batch["x"][1, 2:].abs().max() == 0
    assert torch.equal(batch["seconds"][1, 2:], torch.zeros(3))


def test_a_frozen_image_encoder_stays_as_it_is_while_the_rest_trains(film):
    encoder = FramesEncoder(**SMALL | {"image": attrs.evolve(PATCH, freeze=True, dropout=0.5)})
    parts = Parts(encoders={"video": encoder}, fusion=ReferenceFusion(), heads={"head": ReferenceHead()})
    model = A2AModel.from_parts(parts).train()
    module = model.encoders["video"]
    assert module.training
    assert module.layers[0].training
    assert not any(part.training for part in module.image.modules())
    assert not any(parameter.requires_grad for parameter in module.image.parameters())
    processor = encoder.processor()
    batch = processor.pad([processor(film("a.mp4"))])
    tensors = {name: tensor.flatten(0, 1) for name, tensor in batch.items() if name == "pixel_values"}
    assert torch.equal(module.image(**tensors).values, module.image(**tensors).values)  # its dropout is off
    module(**batch).values.sum().backward()
    trained = {name for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert trained == {name for name, _ in module.named_parameters() if not name.startswith("image.")}


def test_what_the_image_encoder_reads_in_is_kept(tmp_path):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    stored = CLIPVisionModel(CLIPVisionConfig(**CLIP))
    stored.save_pretrained(tmp_path)
    encoder = FramesEncoder(image=HfVisionEncoder(path=tmp_path)).resolved()
    assert encoder.image.config["hidden_size"] == 16
    module = encoder.build()
    encoder.load(module)
    ours, theirs = module.image.model.state_dict(), stored.state_dict()
    name = next(name for name in ours if name.endswith("q_proj.weight"))
    (same,) = (value for key, value in theirs.items() if key.endswith(name))
    assert torch.equal(ours[name], same)


def moving(rightwards, random):
    """(6, 3, 8, 8): a bright column on its way through noise."""
    frames = 0.2 * torch.randn(6, 3, 8, 8, generator=random)
    for index in range(6):
        frames[index, :, :, index + 1 if rightwards else 6 - index] += 1.5
    return frames


@pytest.mark.parametrize(
    ("temporal", "pool"), [("attention", "mean"), ("conv", "mean"), ("attention", "none"), ("conv", "none")]
)
def test_it_learns_which_way_something_moves(temporal, pool):
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(0)
    encoder = FramesEncoder(image=attrs.evolve(PATCH, dropout=0.0), temporal=temporal, pool=pool, dropout=0.0, num_heads=2)
    module, head = encoder.build(), nn.Linear(16, 2)
    optimiser = torch.optim.AdamW([*module.parameters(), *head.parameters()], lr=3e-3)
    seconds, mask = torch.arange(6).repeat(16, 1) / 5, torch.ones(16, 6, dtype=torch.bool)
    for _ in range(80):
        labels = torch.randint(2, (16,), generator=random)
        clips = torch.stack([moving(bool(label), random) for label in labels])
        loss = nn.functional.cross_entropy(head(module(seconds, mask, pixel_values=clips).values.mean(1)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1
