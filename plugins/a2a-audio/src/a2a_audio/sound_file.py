"""Files that libsndfile reads: wav, flac, mp3, ogg, aiff and more."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, BinaryIO, Final

import soundfile

if TYPE_CHECKING:
    from a2a_audio.opening import Samples

STREAMED: Final = 2**31 - 2**16
"""A wav that was written to a pipe declares at least so many bytes, because its length was not yet known."""
_CUT_OFF = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile notes of a wav, aiff or au that ends too early: it reads them all the same."""
RESERVOIR: Final = 16 * 1152
"""Samples before a segment that are decoded of an mp3, whose frames may lean on the bytes of several frames before."""
PAGE: Final = 27 + 255 + 255 * 255
"""Bytes of the longest page of an ogg."""
_PAGE = re.compile(rb"OggS\0")


class SoundFile:
    """A Recording that seeks to what is read of it.

    wav, aiff and flac know where that is, in ogg it is found by bisection, of an mp3 the headers of all frames before are read.
    What an exact start needs is decoded besides: a few frames of an mp3, and what the last page of a vorbis file holds where
    the segment begins in it, because libvorbis counts samples there from the end, and forgets that the end was trimmed.
    """

    def __init__(self, sound: soundfile.SoundFile, file: BinaryIO) -> None:
        self.sound, self.file, self.rate, self.frames = sound, file, sound.samplerate, sound.frames
        found = _CUT_OFF.search(sound.extra_info)
        if found and int(found[2]) < int(found[1]) < STREAMED:
            raise ValueError(f"the sound is cut off: it declares {found[1]} bytes of samples and has {found[2]}")

    def read(self, first: int, last: int) -> Samples:
        """See Recording. An mp3 may only estimate its length, so that there may be fewer samples in it."""
        try:
            begin = self._exact(first)
            if begin:
                self.sound.seek(begin)
            samples: Samples = self.sound.read(last - begin, dtype="float32", always_2d=True)[first - begin :]
        except soundfile.LibsndfileError as error:
            raise ValueError(f"the sound is damaged or cut off ({error.error_string})") from None
        if len(samples) < last - first and self.sound.format != "MP3":
            raise ValueError(f"the sound is cut off: {first + len(samples)} of {self.frames} samples can be read")
        return samples

    def _exact(self, sample: int) -> int:
        """A sample, this or one before, from which on decoding gives what it gives from the beginning."""
        if self.sound.format == "MP3":
            return max(0, sample - RESERVOIR)
        if sample and self.sound.subtype == "VORBIS":
            return max(0, min(sample, self.frames - last_page(self.file) - 1))
        return sample


def last_page(file: BinaryIO) -> int:
    """Samples on the last page of an ogg, as its positions (RFC 3533, section 6) tell; all of them where there is one page."""
    place = file.tell()
    file.seek(-min(2 * PAGE, file.seek(0, os.SEEK_END)), os.SEEK_END)
    end = file.read()
    file.seek(place)
    positions = [int.from_bytes(end[found.end() + 1 : found.end() + 9], "little", signed=True) for found in _PAGE.finditer(end)]
    positions = [position for position in positions if position >= 0]
    return positions[-1] - (positions[-2] if len(positions) > 1 else 0) if positions else 0
