"""What a2a-vision offers."""

from __future__ import annotations

from a2a_core import hookimpl


@hookimpl
def a2a_encoders() -> dict[str, str]:
    """Images to tokens."""
    return {
        "conv": "a2a_vision.conv:ConvEncoder",
        "hf-vision": "a2a_vision.hf_vision:HfVisionEncoder",
        "patch": "a2a_vision.patch:PatchEncoder",
    }
