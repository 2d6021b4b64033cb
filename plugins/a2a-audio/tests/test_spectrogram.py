import pickle

import numpy as np
import pytest
import torch

from a2a_audio.mel import mel_filter_bank
from a2a_audio.spectrogram import FRAMES, MelSpectrogram, log10


def by_definition(sound, sample_rate, num_mels, n_fft, window, hop, end):
    """Mel power in float64, by torch.stft of the sound with silence up to `end`."""
    signal = torch.nn.functional.pad(torch.from_numpy(sound).double(), (0, end - len(sound)))
    hann = torch.hann_window(window, dtype=torch.float64)
    power = torch.stft(signal, n_fft, hop, window, hann, center=True, return_complex=True).abs().square()
    bank = torch.from_numpy(mel_filter_bank(num_mels, n_fft, sample_rate))
    return power.T @ bank


@pytest.mark.parametrize("samples", [1, 199, 201, 5000, 21000])
@pytest.mark.parametrize(("num_mels", "n_fft", "window", "hop"), [(80, 400, 400, 160), (33, 512, 400, 100), (8, 256, 201, 80)])
def test_power_is_that_of_the_short_time_fourier_transform(noise, samples, num_mels, n_fft, window, hop):
    sound = noise(samples)
    front = MelSpectrogram(16000, num_mels, n_fft, window, hop)
    frames = front.frames(samples)
    wanted = by_definition(sound, 16000, num_mels, n_fft, window, hop, end=30000)[:frames]
    torch.testing.assert_close(front.power(sound, frames).double(), wanted, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("samples", [7, 15700, 15801, 15999, 16000])
def test_the_end_of_the_signal_is_mirrored(noise, samples):
    sound = noise(samples)
    front = MelSpectrogram(16000, 80, 400, 400, 160)
    wanted = by_definition(sound, 16000, 80, 400, 400, 160, end=16000)[:100]
    torch.testing.assert_close(front.power(sound, 100, end=16000).double(), wanted, atol=1e-6, rtol=1e-4)


def test_frames_are_the_same_however_many_are_computed_at_once(noise):
    sound, frames = noise(40000), 2 * FRAMES + 7
    front = MelSpectrogram(8000, 20, 64, 64, 20)
    wanted = by_definition(sound, 8000, 20, 64, 64, 20, end=50000)[:frames]
    torch.testing.assert_close(front.power(sound, frames).double(), wanted, atol=1e-6, rtol=1e-4)


def test_frames_after_those_touched_are_silent():
    front = MelSpectrogram(16000, 80, 400, 400, 160)
    for samples in (1, 120, 160, 1234):
        touched = front.touched(samples)
        silent = (front.power(np.ones(samples, np.float32), touched + 3) == 0).all(1)
        assert silent.tolist() == [False] * touched + [True] * 3


def test_the_sound_is_left_as_it_is(noise):
    front = pickle.loads(pickle.dumps(MelSpectrogram(16000, 80, 400, 400, 160)))
    sound = noise(1000)
    assert not front.power(sound, 7).requires_grad
    assert np.array_equal(sound, noise(1000))


def test_log10_has_a_floor_of_80_db_below_the_loudest():
    assert log10(torch.tensor([100.0, 1e-3, 1e-6, 1e-7, 0.0])).tolist() == pytest.approx([2, -3, -6, -6, -6])
    assert log10(torch.tensor([1e-5, 0.0])).tolist() == pytest.approx([-5, -10])
    assert log10(torch.zeros(3)).tolist() == [-10] * 3
