import pytest

from a2a_core.testing import checks
from a2a_pointcloud.pointnet import PointNetEncoder

OTHERS = {
    "whole": PointNetEncoder(reads="value", hidden_sizes=(8, 8), width=10),
    "linear": PointNetEncoder(hidden_sizes=(), width=7, normalize="none", max_points=4, features=("rgb", "intensity")),
    "groups": PointNetEncoder(reads="value", hidden_sizes=(8,), width=8, tokens=3, group_size=6, features=("rgb", "normals")),
}


@pytest.mark.parametrize(
    "check", [pytest.param(check, id=f"{name}-{check.name}") for name, config in OTHERS.items() for check in checks(config)]
)
def test_other_options_pass_the_kit(check):
    check()


def test_names_of_the_columns():
    assert PointNetEncoder(features=("normals", "height", "rgb")).columns == (
        "nx",
        "ny",
        "nz",
        "height",
        "red",
        "green",
        "blue",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ("rgb", "red")}, "must be names, each column once"),
        ({"features": ("x",)}, "must be names"),
        ({"features": ("",)}, "must be names"),
        ({"layers": 1}, "`layers` need several `tokens`"),
        ({"tokens": 4, "layers": 1, "width": 10}, "`width` = 10 must be a multiple of `num_heads` = 4"),
        ({"tokens": 64, "max_points": 32}, "`max_points` = 32 must be no less than `tokens` = 64"),
        ({"hidden_sizes": (8, 0)}, "`hidden_sizes` must be >= 1"),
        ({"max_points": 0}, "`max_points` must be >= 1"),
        ({"dropout": 1.0}, "`dropout` must be"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PointNetEncoder(**options)
