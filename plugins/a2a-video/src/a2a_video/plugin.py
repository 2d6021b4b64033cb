"""What a2a-video offers."""

from __future__ import annotations

from a2a_core import hookimpl


@hookimpl
def a2a_encoders() -> dict[str, str]:
    """Videos to tokens."""
    return {
        "frames": "a2a_video.frames:FramesEncoder",
        "hf-video": "a2a_video.hf_video:HfVideoEncoder",
    }
