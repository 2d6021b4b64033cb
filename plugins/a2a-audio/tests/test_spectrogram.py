import pickle

import pytest
import torch

from a2a_audio.mel import mel_filter_bank
from a2a_audio.spectrogram import MelSpectrogram


def by_definition(samples, sample_rate, num_mels, n_fft, window, hop, end):
    """Log10 mel power in float64, by torch.stft of the sound with silence up to `end`."""
    signal = torch.nn.functional.pad(samples.double(), (0, end - len(samples)))
    hann = torch.hann_window(window, dtype=torch.float64)
    power = torch.stft(signal, n_fft, hop, window, hann, center=True, return_complex=True).abs().square()
    bank = torch.from_numpy(mel_filter_bank(num_mels, n_fft, sample_rate))
    return (power.T @ bank).clamp(min=1e-10).log10()


@pytest.mark.parametrize("samples", [1, 199, 201, 5000, 21000])
@pytest.mark.parametrize(("num_mels", "n_fft", "window", "hop"), [(80, 400, 400, 160), (33, 512, 400, 100), (8, 256, 201, 80)])
def test_log10_is_that_of_the_short_time_fourier_transform(samples, num_mels, n_fft, window, hop):
    sound = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    front = MelSpectrogram(16000, num_mels, n_fft, window, hop)
    frames = front.frames(samples)
    wanted = by_definition(sound, 16000, num_mels, n_fft, window, hop, end=30000)[:frames]
    torch.testing.assert_close(front.log10(sound, frames).double(), wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("samples", [7, 15700, 15801, 15999, 16000])
def test_the_end_of_the_signal_is_mirrored(samples):
    sound = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    front = MelSpectrogram(16000, 80, 400, 400, 160)
    wanted = by_definition(sound, 16000, 80, 400, 400, 160, end=16000)[:100]
    torch.testing.assert_close(front.log10(sound, 100, end=16000).double(), wanted, atol=2e-5, rtol=0)


def test_frames_are_the_same_however_many_are_computed_at_once():
    sound = torch.randn(40000, generator=torch.Generator().manual_seed(0))
    front = MelSpectrogram(8000, 20, 64, 64, 20)
    assert torch.allclose(front.log10(sound, 2000)[:1500], front.log10(sound, 1500), atol=1e-6)


def test_frames_after_those_touched_are_silent():
    front = MelSpectrogram(16000, 80, 400, 400, 160)
    for samples in (1, 120, 160, 1234):
        touched = front.touched(samples)
        silent = (front.log10(torch.ones(samples), touched + 3) == -10).all(1)
        assert silent.tolist() == [False] * touched + [True] * 3


def test_no_gradient_and_no_state():
    front = pickle.loads(pickle.dumps(MelSpectrogram(16000, 80, 400, 400, 160)))
    sound = torch.randn(1000)
    before = sound.clone()
    assert not front.log10(sound, 7).requires_grad
    assert torch.equal(sound, before)
