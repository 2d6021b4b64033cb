import pytest

from a2a_audio.log_mel import LogMelEncoder
from a2a_core.testing import checks


@pytest.mark.parametrize(
    "check",
    checks(
        LogMelEncoder(
            width=8, conv_layers=2, layers=0, num_heads=1, num_mels=9, sample_rate=11025, channels="stereo", normalize="fixed"
        )
    ),
    ids=str,
)
def test_stereo_without_layers(check):
    check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 100, "num_heads": 8}, "`width` = 100 must be even, and a multiple of `num_heads` = 8"),
        ({"width": 15, "num_heads": 5}, "`width` = 15 must be even"),
        ({"hop_ms": 40.0}, r"`hop_ms` is 640 samples: .* the window's 400"),
        ({"hop_ms": 0.01}, "`hop_ms` is 0 samples"),
        ({"n_fft": 256}, "`n_fft` = 256 must be even, and no less than the window's 400"),
        ({"n_fft": 401}, "`n_fft` = 401 must be even"),
        ({"num_mels": 240}, "`num_mels` = 240 is too many for 512 samples at 16000 Hz: .* filters"),
        ({"dropout": 1.0}, "must be"),
        ({"max_seconds": 0.0}, "must be"),
    ],
)
def test_sizes_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        LogMelEncoder(**options)


@pytest.mark.parametrize(
    ("sample_rate", "window_ms", "fft_length"), [(16000, 25.0, 512), (8000, 25.0, 256), (16000, 32.0, 512), (44100, 25.0, 2048)]
)
def test_the_fourier_transform_is_a_power_of_two(sample_rate, window_ms, fft_length):
    assert LogMelEncoder(sample_rate=sample_rate, window_ms=window_ms).fft_length == fft_length
