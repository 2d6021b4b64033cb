from fractions import Fraction

import av
import numpy as np
import pytest


@pytest.fixture
def noise():
    """Float32 noise of so many samples, the same every time."""

    def make(samples, channels=0):
        shape = (samples, channels) if channels else samples
        return np.random.default_rng(samples).uniform(-0.5, 0.5, shape).astype(np.float32)

    return make


def melody(seconds, rate):
    """A rising tone whose loudness changes fifty times a second: no two stretches of it are alike."""
    times = np.arange(round(seconds * rate)) / rate
    steps = (times * 50).astype(int)
    loudness = np.random.default_rng(3).uniform(0.05, 0.6, steps.max(initial=0) + 1)
    return (np.sin(2 * np.pi * (300 + 40 * times) * times) * loudness[steps]).astype(np.float32)


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """A file with pictures, ten a second, and a melody: its path and the melody on the timeline of the pictures.

    `sound` (begin, end) are the seconds that have sound; `skip` the seconds, as such a pair, whose packets are left out.
    """
    folder = tmp_path_factory.mktemp("films")

    def make(
        name, kind, codec="aac", rate=16000, seconds=4.0, picture="mpeg4", sound=(0.0, None), skip=(0, 0), layout="mono", **how
    ):
        path, (begin, end) = folder / name, sound
        wave = melody(seconds, rate)
        wave[: round(begin * rate)] = wave[round((seconds if end is None else end) * rate) :] = 0
        if path.exists():
            return path, wave
        options = {"aac_pns": "0"} if codec == "aac" else {}
        with av.open(str(path), "w", format=kind, options=how) as container:
            pictures = container.add_stream(picture, rate=10, width=32, height=32, pix_fmt="yuv420p") if picture else None
            tones = container.add_stream(codec, rate=rate, layout=layout, options=options) if codec else None
            resampler = av.AudioResampler(format=tones.format, layout=layout, rate=rate) if tones else None

            def mux(packets):
                for packet in packets:
                    if packet.stream is pictures or not skip[0] <= packet.pts * packet.time_base < skip[1]:
                        container.mux(packet)

            for tenth in range(round(seconds * 10)):
                if pictures:
                    grey = av.VideoFrame.from_ndarray(np.full((32, 32, 3), tenth * 5 % 256, np.uint8))
                    grey.pts = tenth
                    mux(pictures.encode(grey))
                if tones and begin <= tenth / 10 < (seconds if end is None else end):
                    part = wave[tenth * rate // 10 : (tenth + 1) * rate // 10]
                    frame = av.AudioFrame.from_ndarray((part * 32767).astype(np.int16)[None], "s16", "mono")
                    frame.sample_rate, frame.pts, frame.time_base = rate, tenth * rate // 10, Fraction(1, rate)
                    for each in resampler.resample(frame):
                        mux(tones.encode(each))
            if tones and (end is None or end > begin):
                for each in resampler.resample(None):
                    mux(tones.encode(each))
                mux(tones.encode())
            if pictures:
                mux(pictures.encode())
        return path, wave

    return make
