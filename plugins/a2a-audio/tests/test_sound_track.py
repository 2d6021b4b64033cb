import subprocess
import sys
from contextlib import suppress
from io import BytesIO

import numpy as np
import pytest

from a2a_audio.hf_audio import HfAudioEncoder
from a2a_audio.log_mel import LogMelEncoder
from a2a_audio.reading import NoSoundTrackError, SoundReader, read_sound
from a2a_audio.sound_track import PREROLL, SoundTrack, open_container
from a2a_core import Segment
from a2a_core.data import Medium, Prepared
from a2a_core.inference import Lines
from a2a_core.structures import Row

RATE = 16000
CONTAINERS = {
    "a.mp4": ("mp4", {}),
    "a.m4a": ("ipod", {"picture": None}),
    "a.mov": ("mov", {"codec": "alac"}),
    "pcm.mov": ("mov", {"codec": "pcm_s16le"}),
    "opus.mp4": ("mp4", {"codec": "libopus"}),
    "mp3.mp4": ("mp4", {"codec": "libmp3lame"}),
    "a.mkv": ("matroska", {}),
    "live.mkv": ("matroska", {"live": "1"}),
    "a.webm": ("webm", {"codec": "libopus", "picture": "libvpx"}),
    "sound.mka": ("matroska", {"codec": "libopus", "picture": None}),
    "a.avi": ("avi", {"codec": "pcm_s16le"}),
    "a.caf": ("caf", {"codec": "alac", "picture": None}),
}
LATE = {
    "late.aac": ("adts", {"picture": None}),
    "late.ts": ("mpegts", {"picture": "mpeg2video"}),
    "late.avi": ("avi", {"codec": "libmp3lame"}),
}
"""AAC's priming or what an mp3 encoder adds is not written down in these."""


def shift(found, wanted, most=0.1):
    """Seconds that one of two sounds is late by, as far as both go, and how alike they then are."""
    count = min(len(found), len(wanted))
    spectra = [np.fft.rfft(sound[:count].astype(np.float64), 2 * count) for sound in (found, wanted)]
    alike = np.fft.irfft(spectra[0] * spectra[1].conj())
    lags = np.arange(-round(most * RATE), round(most * RATE))
    best = lags[alike[lags].argmax()]
    return best / RATE, alike[best] / np.sqrt((found[:count] ** 2).sum() * (wanted[:count] ** 2).sum())


@pytest.mark.parametrize("name", CONTAINERS)
def test_sound_lies_where_the_file_says(film, name):
    kind, how = CONTAINERS[name]
    path, wave = film(name, kind, rate=48000 if how.get("codec") == "libopus" else RATE, **how)
    if how.get("codec") == "libopus":
        wave = film("a.mp4", "mp4")[1]
    found = read_sound(path, RATE)
    assert found.dtype == np.float32
    assert abs(found.shape[1] / RATE - 4.0) < 0.1
    late, alike = shift(found[0], wave)
    assert abs(late) <= 0.001
    assert alike > 0.97
    assert np.array_equal(read_sound(path.read_bytes(), RATE), found)


@pytest.mark.parametrize("name", LATE)
def test_what_an_encoder_adds_in_silence_stays(film, name):
    kind, how = LATE[name]
    path, wave = film(name, kind, **how)
    late, alike = shift(read_sound(path, RATE)[0], wave)
    assert 0.05 < late < 0.08
    assert alike > 0.97


@pytest.mark.parametrize("name", [*CONTAINERS, *LATE])
def test_a_segment_is_cut_out_of_the_whole(film, name):
    kind, how = {**CONTAINERS, **LATE}[name]
    path, _ = film(name, kind, rate=48000 if how.get("codec") == "libopus" else RATE, **how)
    whole = read_sound(path, 12000)[0]
    exact = kind not in ("matroska", "webm")  # whose clock ticks a thousand times a second
    for start, end in ((0.0, 0.3), (0.2, 0.7), (1.234, 2.5), (3.5, 3.9)):
        found = read_sound(Segment(path, start, end), 12000)[0]
        wanted = whole[round(start * 12000) : round(end * 12000)]
        assert found.shape == wanted.shape
        if exact:
            assert np.abs(found - wanted).max() < 1e-4
        else:
            late, alike = shift(found, wanted, 0.01)
            assert abs(late) <= 0.001
            assert alike > 0.97


class Counted(SoundTrack):
    """A track that leaves itself where tests find it."""

    def __init__(self, container, file):
        super().__init__(container, file)
        Counted.last = self


@pytest.mark.parametrize(("name", "kind"), [("long.mp4", "mp4"), ("long.mkv", "matroska"), ("long.ts", "mpegts")])
def test_no_more_is_decoded_than_the_segment_and_half_a_second(film, monkeypatch, name, kind):
    path, _ = film(name, kind, seconds=40.0, picture="mpeg2video" if kind == "mpegts" else "mpeg4")
    monkeypatch.setattr("a2a_audio.sound_track.SoundTrack", Counted)
    read_sound(Segment(path, 30.0, 30.5), 8000)
    assert Counted.last.decoded <= (0.5 + PREROLL) * RATE / 1024 + 4
    read_sound(Segment(path, 0.0, 0.5), 8000)
    assert Counted.last.decoded <= 0.5 * RATE / 1024 + 4


def test_pictures_are_neither_decoded_nor_read(film):
    path, _ = film("a.mp4", "mp4")
    with path.open("rb") as file, open_container(file) as container:
        track = SoundTrack(container, file)
        track.read(0, RATE)
        pictures = container.streams.video[0]
        assert pictures.discard.name == "all"
        assert not pictures.codec_context.is_open
        assert not any(packet.size for packet in container.demux() if packet.stream is pictures)


@pytest.mark.parametrize(("name", "kind"), [("offset.mp4", "mp4"), ("offset.mkv", "matroska"), ("offset.mov", "mov")])
def test_sound_that_begins_after_and_ends_before_the_pictures(film, name, kind):
    path, wave = film(name, kind, sound=(1.5, 3.0))
    found = read_sound(path, RATE)[0]
    assert abs(len(found) / RATE - 4.0) < 0.1
    assert abs(shift(found, wave)[0]) <= 0.002
    assert shift(found, wave)[1] > 0.97
    assert np.abs(found[: round(1.4 * RATE)]).max() < 1e-3
    assert np.abs(found[round(3.15 * RATE) :]).max() < 1e-3
    assert not read_sound(Segment(path, 0.2, 1.0), RATE).any()
    assert not read_sound(Segment(path, 3.4, 3.9), RATE).any()
    part = read_sound(Segment(path, 1.0, 2.0), RATE)[0]
    assert abs(shift(part, wave[RATE : 2 * RATE])[0]) <= 0.002


@pytest.mark.parametrize(("name", "kind"), [("gap.mp4", "mp4"), ("gap.mkv", "matroska")])
def test_a_gap_is_silence_and_what_follows_keeps_its_time(film, name, kind):
    path, wave = film(name, kind, skip=(1.0, 2.0))
    found = read_sound(path, RATE)[0]
    assert not found[round(1.2 * RATE) : round(1.8 * RATE)].any()
    assert abs(shift(found[2 * RATE :], wave[2 * RATE :])[0]) <= 0.002
    assert abs(shift(found[:RATE], wave[:RATE])[0]) <= 0.002
    part = read_sound(Segment(path, 1.5, 3.0), RATE)[0]
    assert abs(shift(part[RATE // 2 + 1000 :], wave[2 * RATE + 1000 : 3 * RATE])[0]) <= 0.002


def test_stereo(film):
    path, wave = film("two.mp4", "mp4", layout="stereo")
    found = read_sound(path, RATE, "stereo")
    assert found.shape[0] == 2
    assert all(shift(channel, wave)[1] > 0.97 for channel in found)
    assert read_sound(path, RATE).shape[0] == 1


def test_past_the_end(film):
    path, _ = film("a.mp4", "mp4")
    with pytest.raises(ValueError, match=r"from 5 s to 6 s lies past the end of the recording, which lasts 4\.000 s"):
        read_sound(Segment(path, 5.0, 6.0), RATE)
    assert read_sound(Segment(path, 3.0, 4.5), RATE).shape == (1, RATE)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("silent.mp4", {"codec": None}, "no sound track"),
        ("empty.matroska", {"codec": "pcm_s16le", "sound": (0, 0)}, "is empty"),
    ],
)
def test_a_video_without_sound(film, name, how, message):
    path, _ = film(name, name.split(".")[1], **how)
    for raw in (path, path.read_bytes(), Segment(path, 1.0, 2.0)):
        with pytest.raises(NoSoundTrackError, match=message):
            read_sound(raw, RATE)
        with pytest.raises(ValueError, match='`missing_track = "absent"` would take its row without sound'):
            SoundReader(RATE)(raw)
        assert SoundReader(RATE, missing_track="absent")(raw) is None


WHISPER = {"model_type": "whisper", "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32}


@pytest.mark.parametrize(
    "encoder",
    [
        LogMelEncoder(missing_track="absent"),
        HfAudioEncoder(config=WHISPER, missing_track="absent"),
        HfAudioEncoder(config={"model_type": "wav2vec2"}, missing_track="absent"),
    ],
    ids=["log-mel", "whisper", "wav2vec2"],
)
def test_its_row_is_one_without_sound(film, encoder):
    silent, loud = film("silent.mp4", "mp4", codec=None)[0], film("a.mp4", "mp4")[0]
    rows = [{"video": silent.name}, {"video": loud.name, "start": 1.0, "end": 2.0}, {"video": "gone.mp4"}]
    lines = Lines([Row(fields, "", silent.parent, "") for fields in rows])
    data = Prepared(lines, {"sound": Medium("video", True, encoder.processor(), "start", "end")}, {})
    assert data[0].items == {"sound": []}
    assert len(data[1].items["sound"]) == 1
    assert "there is no file" in data[2].reason


def test_silence_is_not_a_missing_track(film):
    """Whatever `missing_track` says: the pictures go on, and nobody speaks."""
    path, _ = film("offset.mp4", "mp4", sound=(1.5, 3.0))
    item = LogMelEncoder(missing_track="absent").processor()(Segment(path, 0.0, 1.0))
    assert item.length == 25
    assert item.tensors["features"].isfinite().all()


@pytest.mark.parametrize(
    ("name", "kind", "how"),
    [("a.mp4", "mp4", {}), ("first.mp4", "mp4", {"movflags": "faststart"}), ("a.mkv", "matroska", {}), ("a.m4a", "ipod", {})],
)
@pytest.mark.parametrize("part", [0.01, 0.3, 0.8])
def test_a_file_that_is_cut_off(film, name, kind, how, part):
    data = film(name, kind, **({"picture": None} if kind == "ipod" else {}), **how)[0].read_bytes()
    with pytest.raises(ValueError, match="cut off") as caught:
        read_sound(data[: int(part * len(data))], RATE)
    assert not isinstance(caught.value, NoSoundTrackError)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.aac"])
def test_a_file_that_is_damaged_is_read_or_refused(film, name):
    """Whatever stands in a file, nothing but a ValueError comes out."""
    kind = {"mp4": "mp4", "mkv": "matroska", "ts": "mpegts", "aac": "adts"}[name.split(".")[1]]
    data = film(name, kind, picture=None if kind == "adts" else "mpeg2video" if kind == "mpegts" else "mpeg4")[0].read_bytes()
    random = np.random.default_rng(0)
    for _ in range(25):
        broken = bytearray(data)
        start = int(random.integers(len(data)))
        broken[start : start + 200] = random.bytes(len(broken[start : start + 200]))
        with suppress(ValueError):
            assert np.isfinite(read_sound(bytes(broken), RATE)).all()


def test_a_title_in_another_alphabet_is_no_matter(film):
    path, _ = film("a.mp4", "mp4")
    data = path.read_bytes()
    assert data.count(b"Lavf") == 1
    assert np.array_equal(read_sound(data.replace(b"Lavf", b"L\xe4vf"), RATE), read_sound(path, RATE))


@pytest.mark.parametrize(
    "content",
    [b"#EXTM3U\n#EXTINF:4,\nFILE\n#EXT-X-ENDLIST\n", b"ffconcat version 1.0\nfile FILE\n", b"\x89PNG\r\n\x1a\n" + bytes(100)],
)
def test_playlists_and_pictures_are_no_sound(film, tmp_path, content):
    path = tmp_path / "list.mp4"
    path.write_bytes(content.replace(b"FILE", str(film("a.mp4", "mp4")[0]).encode()))
    with pytest.raises(ValueError, match="no sound that can be read"):
        read_sound(path, RATE)


def test_what_libsndfile_reads_needs_no_pyav(tmp_path):
    program = (
        "import sys, numpy, soundfile; from a2a_audio.reading import read_sound;"
        "soundfile.write('a.wav', numpy.zeros(100), 8000); read_sound('a.wav', 16000); print('av' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_container_without_streams_is_none():
    assert open_container(BytesIO(b"\x00\x00\x00\x08ftyp")) is None
