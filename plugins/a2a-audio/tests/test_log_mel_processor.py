import pytest
import torch

from a2a_audio.log_mel import LogMelEncoder
from a2a_audio.mel import mel_filter_bank


def features(raw, **options):
    item = LogMelEncoder(**{"sample_rate": 8000, "num_mels": 20, **options}).processor()(raw)
    return item.tensors["features"]


def log10_mel(sound):
    """Frames (T, 20) of 200 samples every 80 at 8 kHz, in float64."""
    hann = torch.hann_window(200, dtype=torch.float64)
    spectrum = torch.stft(torch.from_numpy(sound).double(), 256, 80, 200, hann, return_complex=True, pad_mode="reflect")
    return (spectrum.abs().square().T @ torch.from_numpy(mel_filter_bank(20, 256, 8000))).clamp(min=1e-10).log10()


def test_features_are_normalised_log_mel_frames(noise):
    wanted = log10_mel(noise(4000))[:48]  # the last two windows reach beyond the end
    found = features((noise(4000), 8000), normalize="fixed")
    assert found.shape == (50, 20)
    torch.testing.assert_close(found[:48].double(), (wanted + 4) / 4, atol=1e-5, rtol=0)
    standard = features((noise(4000), 8000))
    torch.testing.assert_close(standard, (found - found.mean()) / found.std(correction=0), atol=1e-3, rtol=1e-3)
    assert standard.mean().abs() < 1e-5


def test_loudness_does_not_matter_unless_asked_for(noise):
    quiet, loud = (0.01 * noise(3000), 8000), (noise(3000), 8000)
    torch.testing.assert_close(features(quiet), features(loud), atol=1e-3, rtol=0)
    assert (features(loud, normalize="fixed") - features(quiet, normalize="fixed")).mean() == pytest.approx(1, abs=0.01)


def test_a_steady_tone_stands_out():
    tone = torch.sin(torch.arange(4000) * 0.6)
    spectrum = features((tone.numpy(), 8000)).mean(0)
    assert spectrum.max() > 2
    assert spectrum.median() < 0


def test_nothing_is_fainter_than_80_db_below_the_loudest(noise):
    sound = noise(4000)
    sound[2000:] *= 1e-7
    found = features((sound, 8000), normalize="fixed")
    assert found.max() - found.min() == pytest.approx(2)


def test_stereo_is_two_spectrograms(noise):
    sound = noise(3000, 2)
    found = features((sound, 8000), channels="stereo", normalize="fixed")
    assert found.shape == (38, 40)
    for channel in range(2):
        alone = features((sound[:, channel], 8000), normalize="fixed")
        assert torch.equal(found[:, 20 * channel : 20 * channel + 20], alone)


@pytest.mark.parametrize(
    ("samples", "frames", "length"), [(1, 3, 1), (200, 3, 1), (240, 3, 1), (241, 4, 1), (321, 5, 2), (8000, 100, 25)]
)
def test_frames_and_tokens(noise, samples, frames, length):
    item = LogMelEncoder(sample_rate=8000).processor()((noise(samples), 8000))
    assert item.tensors["features"].shape == (frames, 64)
    assert item.length == length


def test_silence_is_finite():
    assert features((torch.zeros(500).numpy(), 8000)).abs().max() < 1e-3


def test_sound_is_resampled_and_cut(noise):
    assert features((noise(16000), 16000)).shape == (100, 20)
    assert features((noise(16000), 16000), max_seconds=0.5).shape == (50, 20)


def test_pad(noise):
    processor = LogMelEncoder(sample_rate=8000).processor()
    items = [processor((noise(samples), 8000)) for samples in (2000, 800)]
    batch = processor.pad(items)
    assert batch["features"].shape == (2, 25, 64)
    assert batch["frames"].tolist() == [25, 10]
    assert torch.equal(batch["features"][1, :10], items[1].tensors["features"])
    assert not batch["features"][1, 10:].any()
