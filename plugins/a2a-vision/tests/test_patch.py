import numpy as np
import pytest
import torch
from torch import nn

from a2a_core.testing import checks
from a2a_vision.patch import PatchEncoder
from a2a_vision.patch_model import Block, sincos_2d

SMALL = {"width": 16, "layers": 2, "num_heads": 2, "image_size": 8, "patch_size": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 30}, "`image_size` = 30 must be a multiple of `patch_size` = 16"),
        ({"width": 100}, "`width` = 100 must be a multiple of `num_heads` = 3"),
        ({"width": 6}, "`width` = 6 must be a multiple of 4"),
        ({"mean": (0.1, 0.2)}, "`mean` must hold one number, or one for each of 3 channels"),
        ({"channels": 1, "std": (0.1, 0.2, 0.3)}, "`std` must hold one number"),
        ({"std": (0.0,)}, "`std` must be > 0"),
        ({"dropout": 1.0}, "`dropout` must be"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PatchEncoder(**options)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{check.name}")
        for name, options in {
            "learned": {"positions": "learned"},
            "grey": {"channels": 1, "resize": "stretch", "mean": (0.1,), "std": (0.3,)},
            "dropout": {"dropout": 0.5},
        }.items()
        for check in checks(PatchEncoder(**SMALL, **options))
    ],
)
def test_every_option_passes_the_kit(check):
    check()


def test_a_block_is_the_pre_norm_layer_of_torch():
    block = Block(16, 2, 0.0)
    layer = nn.TransformerEncoderLayer(16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True)
    norm, up, _, _, down, _ = block.mlp
    for wanted, given in (
        (layer.norm1, block.attention_norm),
        (layer.self_attn.out_proj, block.out),
        (layer.norm2, norm),
        (layer.linear1, up),
        (layer.linear2, down),
    ):
        nn.init.normal_(given.weight)
        nn.init.normal_(given.bias)
        wanted.load_state_dict(given.state_dict())
    nn.init.normal_(block.qkv.bias)
    layer.self_attn.in_proj_weight.data.copy_(block.qkv.weight)
    layer.self_attn.in_proj_bias.data.copy_(block.qkv.bias)
    tokens = torch.randn(3, 5, 16)
    assert torch.allclose(block(tokens), layer(tokens), atol=1e-4)


def test_positions_are_sines_and_cosines_of_column_and_row():
    table = sincos_2d(3, 8, torch.device("cpu")).numpy()
    for row in range(3):
        for column in range(3):
            angles = [(place, place / 100) for place in (column, row)]
            wanted = [function(angle) for pair in angles for function in (np.sin, np.cos) for angle in pair]
            assert np.allclose(table[row * 3 + column], wanted, atol=1e-6)


def test_patches_come_by_row():
    encoder = PatchEncoder(**SMALL).build()
    encoder.blocks = nn.ModuleList()
    encoder.positions.zero_()
    pictures = torch.zeros(1, 3, 8, 8)
    pictures[0, :, 2:4, 6:8] = 1
    tokens = encoder(pictures).values[0]
    alike = [int(torch.allclose(token, tokens[0])) for token in tokens]
    assert [index for index, same in enumerate(alike) if not same] == [7]


def test_a_picture_is_cropped_or_stretched(tmp_path, picture):
    picture(8, 24).save(tmp_path / "wide.png")
    crop, stretch = (PatchEncoder(**SMALL, resize=resize).processor()(tmp_path / "wide.png") for resize in ("crop", "stretch"))
    assert crop.length == stretch.length == 16
    middle = torch.from_numpy(np.array(picture(8, 24))).permute(2, 0, 1)[:, :, 8:16] / 255 * 2 - 1
    assert torch.allclose(crop.tensors["pixel_values"], middle, atol=1e-5)
    assert not torch.allclose(stretch.tensors["pixel_values"], middle, atol=0.1)


def test_the_same_picture_in_grey_and_rgb_options(tmp_path, picture):
    picture(8, 8, "L").save(tmp_path / "grey.png")
    one, three = (PatchEncoder(**SMALL, channels=channels).processor()(tmp_path / "grey.png") for channels in (1, 3))
    assert torch.equal(one.tensors["pixel_values"].expand(3, 8, 8), three.tensors["pixel_values"])


def test_it_learns_to_tell_left_from_right():
    torch.manual_seed(0)
    encoder, head = PatchEncoder(**SMALL).build(), nn.Linear(16, 2)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(60):
        labels = torch.randint(2, (32,))
        pictures = torch.randn(32, 3, 8, 8) * 0.3
        pictures[labels == 1, :, :, 4:] += 0.5
        pictures[labels == 0, :, :, :4] += 0.5
        logits = head(encoder(pictures).values.mean(1))
        loss = nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05
