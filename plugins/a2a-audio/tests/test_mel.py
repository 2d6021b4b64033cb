import warnings

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank as reference

from a2a_audio.mel import empty_filters, hertz_to_mel, mel_filter_bank, mel_to_hertz


@pytest.mark.parametrize(("mels", "n_fft", "rate"), [(80, 400, 16000), (128, 400, 16000), (64, 256, 8000), (40, 512, 22050)])
def test_the_filter_bank_is_that_of_transformers(mels, n_fft, rate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Whisper's 128 filters some are empty
        wanted = reference(n_fft // 2 + 1, mels, 0, rate / 2, rate, norm="slaney", mel_scale="slaney")
    assert mel_filter_bank(mels, n_fft, rate) == pytest.approx(wanted, rel=1e-9, abs=1e-15)


def test_filters_have_unit_area():
    areas = mel_filter_bank(20, 4096, 16000).sum(0) * 16000 / 4096
    assert areas == pytest.approx(np.ones(20), rel=0.01)


@pytest.mark.parametrize("hertz", [0, 40, 999.9, 1000, 1000.1, 6400, 24000])
def test_the_scale_has_an_inverse(hertz):
    assert mel_to_hertz(hertz_to_mel(hertz)) == pytest.approx(hertz)


@pytest.mark.parametrize(("mels", "n_fft", "rate"), [(64, 256, 8000), (80, 256, 8000), (128, 400, 16000), (200, 512, 16000)])
def test_empty_filters_are_those_without_a_weight(mels, n_fft, rate):
    empty = ~mel_filter_bank(mels, n_fft, rate).any(0)
    assert empty_filters(mels, n_fft, rate) == list(np.flatnonzero(empty))
