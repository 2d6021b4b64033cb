from io import BytesIO

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_audio.log_mel import LogMelEncoder
from a2a_audio.reading import read_sound, resampled_length
from a2a_audio.sound_file import RESERVOIR
from a2a_core import Segment

RATES = [(16000, 16000), (44100, 16000), (16000, 8000), (8000, 16000), (22050, 16000), (48000, 44100), (44101, 8000)]
KINDS = [
    ("WAV", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]


def written(samples, rate, kind="WAV", subtype="PCM_16"):
    file = BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1 if samples.ndim == 1 else samples.shape[1], subtype, format=kind) as sound:
        for start in range(0, len(samples), rate):  # libsndfile's vorbis encoder crashes on long calls
            sound.write(samples[start : start + rate])
    return file.getvalue()


def cut(whole, start, end, rate):
    """The segment of the recording, resampled as a whole."""
    return whole[:, round(start * rate) : round(end * rate)]


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
@pytest.mark.parametrize("wanted", [16000, 11025])
def test_a_segment_of_a_file_is_cut_out_of_the_resampled_whole(noise, kind, subtype, wanted):
    data = written(noise(5 * 16000), 16000, kind, subtype)
    whole = read_sound(data, wanted)
    for start, end in ((0.0, 0.5), (0.01, 0.02), (1.7, 3.123), (4.5, 5.0)):
        found = read_sound(Segment(data, start, end), wanted)
        assert found.shape == (1, round(end * wanted) - round(start * wanted))
        assert np.abs(found - cut(whole, start, end, wanted)).max() < 1e-6
    assert np.abs(read_sound(Segment(data, 2.0), wanted) - whole[:, 2 * wanted :]).max() < 1e-6
    assert np.array_equal(read_sound(Segment(data), wanted), whole)


@given(st.sampled_from(RATES), st.integers(1, 60000), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_any_segment_at_any_rate(rates, samples, start, length):
    rate, wanted = rates
    sound = np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)
    start *= 0.999 * samples / rate
    end = start + max(1e-3, length * (samples / rate - start))
    whole = read_sound((sound, rate), wanted)
    found = read_sound(Segment((sound, rate), start, end), wanted)
    first = min(round(start * wanted), whole.shape[1] - 1)
    last = whole.shape[1] if end * rate > samples - 0.5 else max(first + 1, round(end * wanted))
    assert whole.shape[1] == max(1, resampled_length(samples, rate, wanted))
    assert found.shape == (1, min(last, whole.shape[1]) - first)
    assert np.abs(found - whole[:, first:last]).max() < 2e-6


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
@pytest.mark.parametrize("samples", [3000, 79000])
def test_every_start_is_exact(noise, kind, subtype, samples):
    """libvorbis is off on the last page, and an mp3's frames lean on those before: both need some sound before the segment."""
    data = written(noise(samples), 16000, kind, subtype)
    whole = read_sound(data, 16000)
    for first in range(0, samples, samples // 50):
        found = read_sound(Segment(data, first / 16000, (first + 500) / 16000), 16000)
        assert np.abs(found - whole[:, first : first + 500]).max() < 1e-6


class Counting(BytesIO):
    """A file that counts the bytes that are read of it."""

    count = 0

    def readinto(self, buffer):
        self.count += (got := super().readinto(buffer))
        return got

    def read(self, *size):
        self.count += len(got := super().read(*size))
        return got


@pytest.mark.parametrize(("kind", "subtype"), KINDS)
def test_no_more_is_decoded_than_the_segment_and_what_the_filter_sees(noise, tmp_path, monkeypatch, kind, subtype):
    path = tmp_path / "sound"
    size = path.write_bytes(written(noise(60 * 16000), 16000, kind, subtype))
    decoded, files = [], []
    read, opened = soundfile.SoundFile.read, type(path).open
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda self, n, **how: decoded.append(n) or read(self, n, **how))

    def counted(self, *how):
        with opened(self, *how) as file:
            files.append(Counting(file.read()))
        return files[-1]

    monkeypatch.setattr(type(path), "open", counted)
    read_sound(Segment(path, 40.0, 40.5), 8000)
    assert sum(decoded) <= 8000 + 2 * 256 + 2 + (RESERVOIR if kind == "MP3" else 0)
    if kind in ("WAV", "FLAC", "AIFF"):  # an mp3's headers are read up to the segment, an ogg's pages by 64 kB
        assert files[0].count < 0.1 * size


@pytest.mark.parametrize("rate", [8000, 44100])
def test_one_sample_is_the_least(noise, rate):
    sound = noise(rate), rate
    for start, end in ((0.5, 0.5 + 1 / 8000), (0.5, 0.5 + 1e-7), (1 - 1e-9, 1.0), (0.0, 1e-9)):
        assert read_sound(Segment(sound, start, end), 8000).shape == (1, 1)
    alone = noise(1), rate
    assert read_sound(Segment(alone, 0.0, None), 8000).shape == (1, 1)


def test_stereo(noise):
    sound = noise(8000, 2), 16000
    found = read_sound(Segment(sound, 0.1, 0.3), 8000, "stereo")
    assert found.shape == (2, 1600)
    assert np.abs(found - read_sound(sound, 8000, "stereo")[:, 800:2400]).max() < 1e-6


def test_max_seconds_counts_from_the_segments_start(noise):
    sound = noise(16000), 16000
    found = read_sound(Segment(sound, 0.25, 0.75), 8000, max_seconds=0.1)
    assert np.abs(found - read_sound(sound, 8000)[:, 2000:2800]).max() < 1e-6
    assert read_sound(Segment(sound, 0.25, 0.3), 8000, max_seconds=0.1).shape == (1, 400)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (1.0, None, r"from 1 s lies past the end of the recording, which lasts 1\.000 s"),
        (3.0, 4.0, "from 3 s to 4 s lies past"),
        (0.5, 2.5, "from 0.5 s to 2.5 s reaches past"),
        (0.5, 0.5, "from 0.5 s to 0.5 s is empty"),
        (0.5, 0.4, "is empty"),
    ],
)
def test_segments_that_are_not_there(noise, start, end, message):
    for raw in ((noise(8000), 8000), written(noise(8000), 8000)):
        with pytest.raises(ValueError, match=message):
            read_sound(Segment(raw, start, end), 8000)


def test_an_end_that_was_rounded_up_is_cut(noise):
    assert read_sound(Segment((noise(8000), 8000), 0.5, 1.4), 8000).shape == (1, 4000)


def test_what_is_there_of_a_file_that_is_cut_off_can_be_read(noise):
    data = written(noise(32000), 16000, "FLAC")
    broken = data[: len(data) // 2]
    assert np.array_equal(read_sound(Segment(broken, 0.2, 0.4), 16000), read_sound(Segment(data, 0.2, 0.4), 16000))
    with pytest.raises(ValueError, match="cut off"):
        read_sound(Segment(broken, 1.5, 1.6), 16000)


def test_an_mp3_that_ends_earlier_than_it_says(noise):
    data = written(noise(64000), 16000, "MP3", "MPEG_LAYER_III")
    broken = data[: len(data) // 2]
    length = read_sound(broken, 16000).shape[1]
    assert 28000 < length < 36000
    assert read_sound(Segment(broken, 1.0, 1.5), 16000).shape == (1, 8000)
    with pytest.raises(ValueError, match="from 3 s to 3.5 s lies past the end of the recording"):
        read_sound(Segment(broken, 3.0, 3.5), 16000)
    assert read_sound(Segment(broken, 1.5, length / 16000 + 0.5), 16000).shape == (1, length - 24000)


WHISPER = {"model_type": "whisper", "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}


@pytest.mark.parametrize(
    "encoder", [LogMelEncoder(), HfAudioEncoder(config=WHISPER), HfAudioEncoder(config={"model_type": "wav2vec2"})], ids=str
)
def test_encoders_hear_the_segment_alone(noise, encoder):
    processor, sound = encoder.processor(), noise(32000)
    wanted = processor((sound[8000:20000], 16000))
    found = processor(Segment((sound, 16000), 0.5, 1.25))
    assert found.length == wanted.length
    for name, tensor in wanted.tensors.items():
        assert torch.equal(found.tensors[name], tensor)
