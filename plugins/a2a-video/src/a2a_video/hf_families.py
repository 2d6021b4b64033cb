"""The video models of transformers: where their configurations describe a clip, how their stock processors prepare it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from a2a_core import A2AError
from a2a_core.errors import suggest
from a2a_vision.preprocess import BICUBIC, BILINEAR, COMPLETED, IMAGENET, KEYS, completed, flag, pixels

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from a2a_vision.pixels import Pixels

CROPPED: Final[dict[str, Any]] = {"do_center_crop": True, "resample": BILINEAR}


class Family(NamedTuple):
    """One model type."""

    stock: Mapping[str, Any]
    """What its stock processor does where no file says otherwise."""
    edge: int = 224
    """The shorter side of a frame before it is cropped to 224; in proportion for other crops."""
    offset: bool = False
    """Whether 1 is subtracted between rescaling and normalising."""
    frames: str = "num_frames"
    size: str = "image_size"
    channels: str = "num_channels"
    class_token: bool = False


FAMILIES: Final[Mapping[str, Family]] = {
    "timesformer": Family({**IMAGENET, **CROPPED}, class_token=True),
    "videomae": Family({**CROPPED, "image_mean": 0.5, "image_std": 0.5}),
    "videoprism_vision_model": Family({"do_center_crop": False, "do_normalize": False, "resample": BICUBIC}),
    "vivit": Family(
        {**CROPPED, "image_mean": 0.5, "image_std": 0.5, "rescale_factor": 1 / 127.5}, 256, offset=True, class_token=True
    ),
    "vjepa2": Family({**IMAGENET, **CROPPED}, 256, frames="frames_per_clip", size="crop_size", channels="in_chans"),
}
"""The processors are those that transformers 5.23 names for each type; all of them insist on torchvision."""


def refuse_unknown_family(model_type: str) -> None:
    """ValueError for a model that `hf-video` does not know how to feed."""
    if model_type not in FAMILIES:
        raise ValueError(f"`hf-video` runs {', '.join(FAMILIES)}, but no `{model_type}` model")


def is_complete(preprocess: Mapping[str, Any]) -> bool:
    """Whether a table says all that `prepared` fills in."""
    return preprocess.keys() >= COMPLETED | {"offset"}


def unknown_key(table: Mapping[str, Any]) -> str:
    """A complaint about the first key that is not understood, or nothing."""
    known = KEYS | {"offset"}
    return next((f"`preprocess` has an unknown key `{key}`; {suggest(key, known)}" for key in table if key not in known), "")


def prepared(config: PretrainedConfig, file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """How frames are prepared: what the recipe says, over the directory's file, over the model type's stock processor.

    The result is explicit and comes out the same when it is prepared again. A2AError for what cannot be done, and for frames
    of another size than the model's.
    """
    family, size = FAMILIES[config.model_type], frame_size(config)
    said = {key: value for key, value in {**file, **given}.items() if value is not None}
    found = {**family.stock, **said}
    if config.model_type == "vjepa2" and "size" not in given:
        found.pop("size", None)  # its stock processor goes by the crop, whatever its file says
    if found["do_center_crop"] and "size" not in found:
        found["size"] = {"shortest_edge": min(size) * family.edge // 224}
    result = completed({}, found, config.model_type, size, channels(config))
    result["offset"] = flag(found, "offset", family.offset)
    if result["offset"] and not flag(found, "do_rescale", True):
        raise A2AError("`offset` goes with `do_rescale`: set `preprocess.offset = false` in the recipe")
    if made(result, config).size != size:
        made_size, wanted = (" x ".join(map(str, each)) for each in (made(result, config).size, size))
        raise A2AError(f"`preprocess` makes frames of {made_size} pixels, and the `{config.model_type}` model takes {wanted}")
    return result


def made(preprocess: Mapping[str, Any], config: PretrainedConfig) -> Pixels:
    """What prepares a frame, for a table that `prepared` gave: (v * factor - 1 - mean) / std is one with a larger mean."""
    shift = 1.0 if preprocess["offset"] else 0.0
    return pixels({**preprocess, "image_mean": [mean + shift for mean in preprocess["image_mean"]]}, channels(config))


def frame_size(config: PretrainedConfig) -> tuple[int, int]:
    """Height and width of the frames that the model takes."""
    value = getattr(config, FAMILIES[config.model_type].size)
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def channels(config: PretrainedConfig) -> int:
    """Channels of a frame."""
    return int(getattr(config, FAMILIES[config.model_type].channels))


def num_frames(config: PretrainedConfig) -> int:
    """Frames of a clip; A2AError where the last of them would fill no tubelet."""
    frames = int(getattr(config, FAMILIES[config.model_type].frames))
    tubelet = getattr(config, "tubelet_size", 1)
    deep = tubelet if isinstance(tubelet, int) else tubelet[0]
    if frames < 1 or frames % deep:
        raise A2AError(f"a clip of {frames} frames is no multiple of {deep}, the frames of a `{config.model_type}` tubelet")
    return frames
