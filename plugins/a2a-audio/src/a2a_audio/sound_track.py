"""The sound track of a video, and sound in containers that libsndfile does not know, by PyAV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, Final

import av
import numpy as np
from av.stream import Discard

from a2a_audio.reading import NoSoundTrackError
from a2a_audio.sample_array import as_float

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

    from a2a_audio.opening import Samples

FORMATS: Final = "mov,mp4,matroska,webm,avi,asf,flv,mpegts,mpeg,ogg,aac,amr,caf"
"""What is opened. Playlists are not, because they could name other files; wav, flac and mp3 are libsndfile's."""
PREROLL: Final = Fraction(1, 2)
"""Seconds decoded before a segment: sound is right once the decoder has seen a few packets (of AAC at 8 kHz for 0.4 s)."""
JITTER: Final = Fraction(1, 100)
"""Seconds by which a frame's time may differ from where the one before it ended; more is a gap. Clocks of 1 ms are common."""
CUT: Final = Fraction(1, 2)
"""Seconds that a file may end before its declared end, which may be rounded; one that lacks more was cut off."""


def open_container(file: BinaryIO) -> InputContainer | None:
    """A file with its header read; None for what is no container of a known format, or has no stream at all."""
    file.seek(0)
    try:
        container = av.open(file, options={"format_whitelist": FORMATS}, metadata_errors="replace")
    except av.FFmpegError:
        return None
    if container.streams:
        return container
    container.close()
    return None


class SoundTrack:
    """A Recording of a container's sound, on the timeline that its pictures have, too.

    Sample 0 is at the beginning of the file: that of its first stream, pictures included. Times rule, not counts: sound that
    begins later, pauses or ends before the pictures is continued by silence; what a codec adds at its beginning (AAC's
    priming) and says so is left out. Of several tracks the one that players choose is read.

    Only packets of the sound are read, from half a second before what is wanted, and decoded; `decoded` counts the frames.
    A decoder draws AAC's perceptual noise and AC-3's dither anew wherever it begins: they are another noise, as loud.
    """

    def __init__(self, container: InputContainer, file: BinaryIO) -> None:
        self.container, self.file, self.decoded = container, file, 0
        self.stream = self._stream()
        self._refuse_cut_off()
        self.begin = begin(container, self.stream)
        self.rate: int = self.stream.codec_context.sample_rate
        self.channels: int = self.stream.codec_context.channels
        self.frames = max(0, round(self._duration() * self.rate))

    def read(self, first: int, last: int) -> Samples:
        """See Recording. Silence where there is no sound; NoSoundTrackError where there is none in the whole file."""
        samples = np.zeros((last - first, self.channels), np.float32)
        reached = 0
        try:
            for position, decoded in self._decode(first, last):
                reached = position + len(decoded)
                low, high = max(position, first), min(reached, last)
                if low < high:
                    samples[low - first : high - first] = decoded[low - position : high - position]
        except (av.FFmpegError, IndexError) as error:  # the latter is PyAV's, where a stream appears that no header named
            reason = getattr(error, "strerror", "a new stream appears")
            raise ValueError(f"the sound is damaged behind {reached / self.rate:.2f} s ({reason})") from None
        if reached < last - CUT * self.rate:
            self._explain_silence(Fraction(reached, self.rate), Fraction(last, self.rate))
        return samples

    def _stream(self) -> AudioStream:
        """The sound's stream; the others are passed over."""
        stream = self.container.streams.best("audio")
        if stream is None:
            raise NoSoundTrackError("the video has no sound track")
        if stream.codec_context is None or not stream.codec_context.sample_rate:
            raise ValueError("the sound cannot be decoded: its codec is unknown, or its header is damaged")
        for other in self.container.streams:
            if other is not stream:
                other.discard = Discard.all
        return stream

    def _refuse_cut_off(self) -> None:
        """ValueError where the index names a packet that lies behind the file's end."""
        index = self.stream.index_entries
        needed = index[-1].pos + index[-1].size if len(index) else 0
        position = self.file.tell()
        available = self.file.seek(0, os.SEEK_END)
        self.file.seek(position)
        if needed > available:
            raise ValueError(f"the sound is cut off: its index names packets up to byte {needed}, and it ends at {available}")

    def _duration(self) -> Fraction:
        """Seconds to the end of the file's last stream, as it declares or, where it does not, as the sound's packets say."""
        if self.container.duration is None or self.container.start_time is None:  # the latter: estimated by bit rate
            return self._last_end(Fraction(0), {self.stream.index})
        return Fraction(self.container.duration, av.time_base)

    def _last_end(self, since: Fraction, streams: set[int]) -> Fraction:
        """When the last packet of some streams ends, in seconds, as far as there is one from `since` on; none is decoded."""
        position, last = self.file.tell(), Fraction(0)
        container = open_container(self.file)
        if container is not None:
            with container, suppress(av.FFmpegError, IndexError):
                if since > 0:
                    container.seek(round((since + self.begin) * av.time_base))
                for packet in container.demux([stream for stream in container.streams if stream.index in streams]):
                    if packet.pts is not None and packet.size:
                        last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base - self.begin)
        self.file.seek(position)
        return last

    def _explain_silence(self, reached: Fraction, wanted: Fraction) -> None:
        """Nothing where only the sound ends; ValueError where the whole file does, NoSoundTrackError where no sound is."""
        if not self.decoded and not self._last_end(Fraction(0), {self.stream.index}):
            raise NoSoundTrackError("the video's sound track is empty")
        found = self._last_end(reached, {stream.index for stream in self.container.streams})
        if found < wanted - CUT:
            raise ValueError(
                f"the sound is cut off: the file ends at {float(found):.2f} s, but declares {self.frames / self.rate:.2f} s"
            )

    def _decode(self, first: int, last: int) -> Iterator[tuple[int, Samples]]:
        """Sample number and samples (n, channels) of frames that follow one another, from before `first` to `last`."""
        following: int | None = None
        for packet in self._packets(first):
            begun = self._position(packet.pts)
            if begun is not None and begun >= last:
                return
            for frame in self._frames(packet, begun is not None and begun < first):
                position, samples = self._position(frame.pts), self._samples(frame)
                if following is None:
                    following = position or 0
                elif position is not None and (following < first or abs(position - following) > JITTER * self.rate):
                    following = position
                yield following, samples
                following += len(samples)

    def _packets(self, first: int) -> Iterator[Packet]:
        """From half a second before a sample on, or from the beginning."""
        wanted = round(first - PREROLL * self.rate)
        return (packet for packet in self._found(wanted) if not self._over(packet, wanted))

    def _found(self, wanted: int) -> Iterator[Packet]:
        """From a sample or before it on; further back where the file's own seeking lands late, or not at all."""
        target, back = wanted, self.rate
        while target > 0:
            try:
                coming = self._seek(target)
            except av.FFmpegError:
                break
            packet = next(coming, None)
            begun = self._position(packet.pts) if packet is not None else None
            if packet is not None and begun is not None and begun <= wanted:
                return chain([packet], coming)
            target, back = target - back, 4 * back
        return self._seek(0) if target < wanted else self.container.demux(self.stream)

    def _over(self, packet: Packet, wanted: int) -> bool:
        """Whether a packet need not be decoded."""
        begun = self._position(packet.pts)
        return begun is not None and begun + (packet.duration or 0) * self.stream.time_base * self.rate < wanted

    def _seek(self, position: int) -> Iterator[Packet]:
        """The packets from a sample on, or a little before."""
        self.container.seek(round((Fraction(position, self.rate) + self.begin) / self.stream.time_base), stream=self.stream)
        return self.container.demux(self.stream)

    def _frames(self, packet: Packet, early: bool) -> list[AudioFrame]:
        """What is decoded of a packet: nothing of an early one that needs what lies before the point sought."""
        try:
            frames = packet.decode()
        except av.FFmpegError:
            if early:
                return []
            raise
        self.decoded += len(frames)
        return frames

    def _position(self, stamp: int | None) -> int | None:
        """The sample that a time by the stream's clock is."""
        return None if stamp is None else round((stamp * self.stream.time_base - self.begin) * self.rate)

    def _samples(self, frame: AudioFrame) -> Samples:
        """(n, channels)."""
        if frame.sample_rate != self.rate or frame.layout.nb_channels != self.channels:
            raise ValueError(
                f"the sound changes from {self.channels} channels at {self.rate} Hz "
                f"to {frame.layout.nb_channels} at {frame.sample_rate} Hz"
            )
        values = frame.to_ndarray()
        return as_float(values.T if frame.format.is_planar else values.reshape(-1, self.channels))


def begin(container: InputContainer, stream: AudioStream) -> Fraction:
    """When the recording begins by the file's own clock, in seconds: with the first of its streams."""
    if container.start_time is not None:
        return Fraction(container.start_time, av.time_base)
    return (stream.start_time or 0) * stream.time_base
