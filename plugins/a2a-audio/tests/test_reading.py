from io import BytesIO

import numpy as np
import pytest
import soundfile
import soxr

from a2a_audio.reading import read_sound


def written(samples, rate=16000, **how):
    file = BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", **how})
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 2**-15),
        ("WAV", "PCM_24", 2**-23),
        ("WAV", "PCM_32", 1e-7),
        ("WAV", "FLOAT", 0),
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "DOUBLE", 1e-7),
        ("FLAC", "PCM_16", 2**-15),
        ("AIFF", "PCM_16", 2**-15),
    ],
)
def test_lossless_files(noise, tmp_path, kind, subtype, tolerance):
    data = written(noise(700), format=kind, subtype=subtype)
    path = tmp_path / "a.sound"
    path.write_bytes(data)
    for raw in (data, path, str(path), {"bytes": data}, {"path": str(path), "bytes": None}):
        found = read_sound(raw, 16000)
        assert found.dtype == np.float32
        assert found.shape == (1, 700)
        assert np.abs(found[0] - noise(700)).max() <= tolerance


@pytest.mark.parametrize(("kind", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_files(kind, subtype):
    tone = np.sin(np.arange(16000) * 0.1).astype(np.float32) / 2
    found = read_sound(written(tone, format=kind, subtype=subtype), 16000)[0]
    middle = slice(2000, 14000)
    assert np.abs(found[middle] - tone[middle]).mean() < 0.02


@pytest.mark.parametrize(
    ("dtype", "scale", "zero"), [("int16", 2**15, 0), ("int32", 2**31, 0), ("uint8", 2**7, 128), ("int8", 2**7, 0)]
)
def test_integer_arrays_are_scaled(noise, dtype, scale, zero):
    integers = (noise(50).astype(np.float64) * scale + zero).astype(dtype)
    wanted = (integers.astype(np.float64) - zero) / scale
    assert read_sound((integers, 16000), 16000)[0] == pytest.approx(wanted, abs=1e-7)


def test_arrays_with_a_rate(noise):
    wanted = noise(90)[None]
    for raw in (
        (noise(90), 8000),
        [noise(90).astype(np.float64), np.int64(8000)],
        {"array": noise(90), "sampling_rate": 8000, "path": None},
        (noise(90).tolist(), 8000),
    ):
        assert np.array_equal(read_sound(raw, 8000), wanted)


def test_channels(noise):
    two, six = noise(40, 2), noise(40, 6)
    assert read_sound((two, 8000), 8000)[0] == pytest.approx(two.mean(1))
    assert read_sound((six, 8000), 8000)[0] == pytest.approx(six.mean(1))
    assert np.array_equal(read_sound((two, 8000), 8000, "stereo"), two.T)
    assert np.array_equal(read_sound((noise(40), 8000), 8000, "stereo"), np.stack([noise(40)] * 2))
    with pytest.raises(ValueError, match="6 channels; stereo takes one or two"):
        read_sound((six, 8000), 8000, "stereo")


@pytest.mark.parametrize(("rate", "wanted"), [(8000, 16000), (44100, 16000), (16000, 8000), (22050, 16000)])
def test_a_resampled_tone_is_the_tone_at_the_other_rate(rate, wanted):
    tone, other = (np.sin(2 * np.pi * 1234 * np.arange(each) / each).astype(np.float32) for each in (rate, wanted))
    found = read_sound((tone, rate), wanted)[0]
    middle = slice(wanted // 10, -wanted // 10)
    assert len(found) == wanted
    assert np.abs(found[middle] - other[middle]).max() < 1e-4
    assert np.array_equal(found, soxr.resample(tone, rate, wanted))


def test_what_a_lower_rate_cannot_hold_is_filtered_out():
    tone = np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000).astype(np.float32)
    assert np.abs(read_sound((tone, 16000), 8000)[0, 500:-500]).max() < 1e-3


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_few_samples_never_become_none(noise, samples):
    assert read_sound((noise(samples), 48000), 8000).shape == (1, 1)


def test_longer_sound_is_cut(noise):
    for raw in ((noise(1000), 1000), written(noise(1000), 1000, subtype="FLOAT")):
        assert np.array_equal(read_sound(raw, 1000, max_seconds=0.25)[0], noise(1000)[:250])
        assert read_sound(raw, 1000, max_seconds=5.0).shape == (1, 1000)


def test_no_samples(tmp_path):
    path = tmp_path / "empty.wav"
    path.write_bytes(written(np.zeros(0, np.float32)))
    for raw in (path, path.read_bytes(), (np.zeros(0), 8000), (np.zeros((0, 2)), 8000)):
        with pytest.raises(ValueError, match="has no samples"):
            read_sound(raw, 8000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(noise, value):
    sound = noise(300)
    sound[17] = value
    for raw in ((sound, 8000), written(sound, 8000, subtype="FLOAT")):
        with pytest.raises(ValueError, match="NaN or infinite"):
            read_sound(raw, 8000)


@pytest.mark.parametrize("content", [b"", b"hello, I am a text", b"RIFF", bytes(1000)])
def test_no_sound_file(tmp_path, content):
    path = tmp_path / "text.wav"
    path.write_bytes(content)
    for raw in (path, content):
        with pytest.raises(ValueError, match="no sound that can be read"):
            read_sound(raw, 8000)


@pytest.mark.parametrize(
    ("kind", "part"), [("OGG", 0.5), *((kind, part) for kind in ("WAV", "FLAC", "AIFF", "AU") for part in (0.1, 0.5, 0.95))]
)
def test_a_file_that_is_cut_off(noise, kind, part):
    data = written(noise(16000), format=kind)
    with pytest.raises(ValueError, match=r"cut off|has no samples"):
        read_sound(data[: int(part * len(data))], 16000)


def test_a_wav_written_to_a_pipe_does_not_know_its_length(noise):
    data = bytearray(written(noise(500)))
    data[40:44] = data[4:8] = b"\xff\xff\xff\xff"
    assert read_sound(bytes(data), 16000).shape == (1, 500)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*nowhere\.wav"):
        read_sound(tmp_path / "nowhere.wav", 8000)
    with pytest.raises(ValueError, match="is no file"):
        read_sound(str(tmp_path), 8000)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros(5), "not ndarray"),
        (None, "not NoneType"),
        (17, "not int"),
        ((np.zeros(5), 0), "sample rate"),
        ((np.zeros(5), True), "sample rate"),
        ((np.zeros(5), 8000.5), "sample rate"),
        ((np.zeros((2, 16000)), 8000), r"\(2, 16000\)"),
        ((np.zeros((2, 3, 4)), 8000), "shape"),
        ((np.float32(1), 8000), "shape"),
        ((np.zeros(5, np.complex64), 8000), "complex64"),
        ((["a", "b"], 8000), "samples must be float"),
        ({"label": 3}, "label"),
    ],
)
def test_what_is_no_sound(raw, message):
    with pytest.raises(ValueError, match=message):
        read_sound(raw, 8000)
