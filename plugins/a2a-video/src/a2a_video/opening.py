"""A video's file and header: only known formats are opened, and what is wrong is said before a frame is decoded."""

from __future__ import annotations

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import av

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

FORMATS: Final = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,ogg,gif,ivf,h264,hevc,obu,mxf,nut,dv,wav,mp3,flac,aac"
)
"""What is opened. Playlists and pictures are not: a playlist could name other files, a picture has no time."""
STILL: Final = ("avif", "heic", "heix", "mif1")
"""Brands of pictures that lie in a video's container."""

SEQUENTIAL: Final = ("gif", "h264", "hevc", "m4v", "mpeg", "mpegvideo", "obu")
"""Formats that are read from their beginning: they have no times, or lose them when they are sought in."""
CUT: Final = 0.5
"""Seconds that a video may end before its declared end, which may be rounded; one that lacks more was cut off."""


def open_file(raw: Any) -> BinaryIO:
    """The file behind a path or bytes; ValueError for what is neither, a folder or empty, OSError as `open` raises it."""
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return not_empty(BytesIO(raw))
    if not isinstance(raw, (str, os.PathLike)):
        raise ValueError(f"a video is a path or the bytes of a file, not {type(raw).__name__}")
    if Path(raw).is_dir():
        raise ValueError("the video is a folder")
    return not_empty(Path(raw).open("rb"))


def not_empty(file: BinaryIO) -> BinaryIO:
    """ValueError for a file without a byte."""
    if not size(file):
        file.close()
        raise ValueError("the video is empty (0 bytes)")
    return file


def size(file: BinaryIO) -> int:
    """Bytes of an open file, which is then at its beginning."""
    found = file.seek(0, os.SEEK_END)
    file.seek(0)
    return found


def open_container(file: BinaryIO) -> InputContainer:
    """The file with its header read; ValueError for what is no video, or has no header."""
    file.seek(0)
    try:
        return av.open(file, options={"format_whitelist": FORMATS})
    except av.FFmpegError as error:
        reason = "its header is missing or damaged, as in a file that was cut off, or this is no video"
        raise ValueError(f"the video cannot be opened: {reason} ({error.strerror})") from None


def video_stream(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; ValueError where there is none that can be decoded. A cover is none."""
    for stream in container.streams.video:
        kind = container.metadata.get("major_brand", container.format.name)
        if kind in STILL or (kind == "gif" and stream.frames == 1):
            raise ValueError(f"this is a picture ({kind}), not a video")
        if not stream.disposition & av.stream.Disposition.attached_pic:
            if stream.codec_context is None:
                raise ValueError("no decoder is known for the video's codec: its header is damaged, or its format is too new")
            return stream
    raise ValueError(f"the file has no video stream{', only sound' if container.streams.audio else ''}")


def refuse_cut_off(stream: VideoStream, available: int) -> None:
    """ValueError where the index names a frame that lies behind the file's end, at so many bytes."""
    index = stream.index_entries
    needed = index[-1].pos + index[-1].size if len(index) else 0
    if needed > available:
        raise ValueError(f"the video is cut off: its index names frames up to byte {needed}, and it ends at {available}")


def begin(container: InputContainer, stream: VideoStream) -> float:
    """When the recording begins by the file's own clock, in seconds: with the first of its streams."""
    if container.start_time is not None:
        return float(container.start_time / av.time_base)
    return float((stream.start_time or 0) * stream.time_base)


def end(container: InputContainer, stream: VideoStream) -> float | None:
    """When the stream ends by the file's own clock, in seconds; None where only its packets can tell (see `scanned_end`).

    A header may lie: an index that goes on behind its end is right, and so is that of an avi, which names every frame.
    """
    declared, indexed = declared_end(stream), indexed_end(stream)
    if declared is None or container.format.name in SEQUENTIAL:
        return None
    if indexed is not None and container.format.name == "avi":
        return indexed
    return indexed if indexed is not None and indexed > declared + CUT else declared


def declared_end(stream: VideoStream) -> float | None:
    """What the header says."""
    if stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    with suppress(ValueError):  # Matroska has it as a text, 00:00:04.200000000, or not at all
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None


def indexed_end(stream: VideoStream) -> float | None:
    """What the index says, as far as it reaches."""
    index, rate = stream.index_entries, stream.average_rate
    return float(index[-1].timestamp * stream.time_base + (1 / rate if rate else 0)) if len(index) else None


def scanned_end(container: InputContainer, stream: VideoStream) -> float:
    """What the packets say; none is decoded. ValueError where a file of this stream alone declares more.

    Where the container as a whole declares its end, only the packets behind the last keyframe are read.
    """
    if container.duration is None or container.format.name in SEQUENTIAL:
        return last_end(container, stream)
    declared = (container.start_time or 0) + container.duration
    found = 0.0
    for moment in (declared, 0):
        with suppress(av.FFmpegError):
            container.seek(moment)
            found = found or last_end(container, stream)
    if len(container.streams) == 1 and found < declared / av.time_base - CUT:
        raise ValueError(f"the video is cut off: it ends at {found:.2f} s, but declares {declared / av.time_base:.2f} s")
    return found


def last_end(container: InputContainer, stream: VideoStream) -> float:
    """When the last of the packets from here on ends; 0 where none is left."""
    end = total = 0
    for packet in container.demux(stream):
        begun = packet.pts if packet.pts is not None else packet.dts
        total += packet.duration or 0
        if packet.size:
            end = max(end, total if begun is None else begun + (packet.duration or 0))
    return float(end * stream.time_base)
