import pytest
import torch
from torch import Tensor, nn

from a2a_core.testing import checks
from a2a_vision.conv import ConvEncoder
from a2a_vision.patch import PatchEncoder

SMALL = {"image_size": 8, "width": 16, "stages": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 30, "stages": 3}, r"`width` = 30 must be a multiple of 4, 2\^\(stages - 1\)"),
        ({"channels": 1, "std": (0.1, 0.2, 0.3)}, "`std` must hold one number"),
        ({"stages": 0}, "`stages` must be >= 1"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConvEncoder(**options)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{check.name}")
        for name, options in {
            "grey": {"channels": 1, "resize": "stretch", "mean": (0.1,), "std": (0.3,)},
            "mean": {"pool": "mean"},
            "max": {"pool": "max"},
            "odd": {"image_size": 13, "width": 12, "stages": 3},
        }.items()
        for check in checks(ConvEncoder(**SMALL | options))
    ],
)
def test_every_option_passes_the_kit(check):
    check()


def test_channels_double_and_the_grid_halves():
    encoder = ConvEncoder(image_size=40, width=32, stages=3).build()
    assert [stage[0].out_channels for stage in encoder.stages] == [8, 16, 32]
    assert encoder(torch.zeros(2, 3, 40, 40)).values.shape == (2, 25, 32)


def test_a_token_sees_what_is_near_by_row():
    """A changed pixel reaches the tokens around it, alike wherever it lies."""
    encoder = ConvEncoder(image_size=32, width=16, stages=2).build()
    for stage in encoder.stages:
        stage[1] = nn.Identity()  # statistics of the whole picture
    pictures = torch.zeros(3, 3, 32, 32)
    pictures[1, :, 2, 29], pictures[2, :, 18, 5] = 1.0, 1.0
    plain, *changed = encoder(pictures).values
    for tokens, (row, column) in zip(changed, ((0, 7), (4, 1)), strict=True):
        moved = (tokens - plain).abs().sum(-1).view(8, 8).nonzero()
        assert moved.tolist()
        assert ((moved - torch.tensor([row, column])).abs() <= 1).all()


def test_the_grid_is_pooled_to_one_token():
    grid, picture = ConvEncoder(**SMALL).build(), torch.randn(2, 3, 8, 8)
    for pool, over in (("mean", Tensor.mean), ("max", Tensor.amax)):
        encoder = ConvEncoder(**SMALL, pool=pool).build()
        encoder.load_state_dict(grid.state_dict())
        features = grid.stages(picture).flatten(2)
        assert torch.allclose(encoder(picture).values[:, 0], grid.norm(over(features, 2)), atol=1e-6)


@pytest.mark.parametrize("config", [ConvEncoder(**SMALL, flip=True), PatchEncoder(image_size=8, patch_size=4, flip=True)])
def test_half_of_the_pictures_are_mirrored_in_training_alone(config):
    torch.manual_seed(0)
    encoder = config.build()
    picture = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        encoder.eval()
        plain, mirrored = encoder(picture).values, encoder(picture.flip(-1)).values
        found = encoder.train()(picture.expand(200, -1, -1, -1)).values
    share = sum(torch.allclose(tokens, mirrored[0], atol=1e-5) for tokens in found) / 200
    assert 0.4 < share < 0.6
    assert share + sum(torch.allclose(tokens, plain[0], atol=1e-5) for tokens in found) / 200 == 1


def test_it_learns_a_texture_wherever_it_lies():
    torch.manual_seed(0)
    encoder, head = ConvEncoder(**SMALL).build(), nn.Linear(16, 2)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    stripes = torch.tensor([1.0, -1.0]).repeat(4)
    for _ in range(60):
        labels = torch.randint(2, (32,))
        pictures = torch.where(labels[:, None, None, None] == 1, stripes[None, None, None], stripes[None, None, :, None])
        pictures = (
            pictures.expand(32, 3, 8, 8) * torch.randint(0, 2, (32, 1, 1, 1)).mul(2).sub(1) + torch.randn(32, 3, 8, 8) * 0.3
        )
        loss = nn.functional.cross_entropy(head(encoder(pictures).values.mean(1)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05
