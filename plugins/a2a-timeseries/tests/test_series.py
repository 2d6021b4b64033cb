import pytest

from a2a_core.testing import checks
from a2a_timeseries.series import SeriesEncoder

OTHERS = {
    "values": SeriesEncoder(reads="value", channels=("a", "b", "c"), patch_size=5, width=9, num_heads=3, layers=1, time="t"),
    "unnamed": SeriesEncoder(channels=3, patch_size=1, width=6, num_heads=1, layers=0, normalize="fixed", mean=(1.0, 2.0, 3.0)),
    "cut": SeriesEncoder(reads="value", patch_size=3, width=8, num_heads=2, layers=2, max_length=4, overlong="last"),
}


@pytest.mark.parametrize(
    "check", [pytest.param(check, id=f"{name}-{check.name}") for name, config in OTHERS.items() for check in checks(config)]
)
def test_other_options_pass_the_kit(check):
    check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": ()}, "must be names, each once"),
        ({"channels": ("x", "x")}, "must be names, each once"),
        ({"channels": ("x", "")}, "must be names, each once"),
        ({"channels": ("x", "time")}, "`time` holds timestamps and cannot be one of `channels`"),
        ({"channels": 0}, "`channels` must be >= 1"),
        ({"sample_rate": 0.0}, "`sample_rate` must be > 0"),
        ({"time_unit": 0.0}, "`time_unit` must be > 0"),
        ({"patch_size": 0}, "`patch_size` must be >= 1"),
        ({"max_length": 0}, "`max_length` must be >= 1"),
        ({"width": 10}, "`width` = 10 must be a multiple of `num_heads` = 4"),
        ({"channels": 3, "normalize": "fixed", "mean": (1.0, 2.0)}, "`mean` must hold one number, or one for each of 3"),
        ({"std": (2.0,)}, '`mean` and `std` are those of `normalize = "fixed"`'),
        ({"normalize": "fixed", "std": (0.0,)}, "`std` must be > 0"),
        ({"dropout": 1.0}, "`dropout` must be"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SeriesEncoder(**options)
