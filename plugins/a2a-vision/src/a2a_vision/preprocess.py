"""How a model wants its pictures prepared: the keys of `preprocessor_config.json`, completed and made uniform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from a2a_core import A2AError
from a2a_core.errors import suggest

if TYPE_CHECKING:
    from a2a_vision.pixels import Pixels
    from a2a_vision.resampling import Size

KEYS: Final = frozenset(
    {
        "crop_size",
        "do_center_crop",
        "do_normalize",
        "do_rescale",
        "do_resize",
        "image_mean",
        "image_std",
        "resample",
        "rescale_factor",
        "size",
    }
)
"""What is understood of such a file."""

COMPLETED: Final = KEYS - {"size", "crop_size", "do_rescale", "do_normalize"}
"""What `completed` always says."""

BILINEAR, BICUBIC = 2, 3
HALF: Final[dict[str, Any]] = {
    "resample": BICUBIC,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_center_crop": False,
}
IMAGENET: Final[dict[str, Any]] = {**HALF, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
OPENAI_CLIP: Final[dict[str, Any]] = {
    **HALF,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "do_center_crop": True,
}
STOCK: Final[dict[str, dict[str, Any]]] = {
    "clip": OPENAI_CLIP,
    "clip_vision_model": OPENAI_CLIP,
    "dinov2": {**IMAGENET, "do_center_crop": True},
    "dinov2_with_registers": {**IMAGENET, "do_center_crop": True},
    "dinov3_vit": {**IMAGENET, "resample": BILINEAR},
    "vit": {**HALF, "resample": BILINEAR},
}
"""What each type's published checkpoints do; every other type stretches, with HALF."""


def unknown_key(table: Mapping[str, Any]) -> str:
    """A complaint about the first key that is not understood, or nothing."""
    return next((f"`preprocess` has an unknown key `{key}`; {suggest(key, KEYS)}" for key in table if key not in KEYS), "")


def completed(file: Mapping[str, Any], given: Mapping[str, Any], model_type: str, size: Size, channels: int) -> dict[str, Any]:
    """What the file says, with the recipe's own keys over it and the model type's habits where both are silent.

    The result is explicit and comes out the same when it is completed again. A2AError for what cannot be done.
    """
    stock = STOCK.get(model_type, HALF)
    found = {key: value for key, value in {**file, **given}.items() if value is not None}
    if found.get("do_pad"):
        raise A2AError("the model pads its pictures (`do_pad`), which is not done here: set `preprocess` in the recipe")
    cropped = flag(found, "do_center_crop", "crop_size" in found if "size" in found else stock["do_center_crop"])
    whole = {"height": size[0], "width": size[1]}
    result: dict[str, Any] = {"do_resize": flag(found, "do_resize", True), "do_center_crop": cropped}
    if result["do_resize"]:
        result["size"] = sides("size", found.get("size", min(size) if cropped else whole), shortest=cropped)
    if cropped:
        result["crop_size"] = sides("crop_size", found.get("crop_size", whole), shortest=False)
    result["resample"] = found.get("resample", stock["resample"])
    if result["resample"] not in range(6):
        raise A2AError(f"`resample` = {result['resample']} is no filter of Pillow (0 to 5; 2 is bilinear, 3 bicubic)")
    result["rescale_factor"] = number("rescale_factor", found.get("rescale_factor", 1 / 255))
    if not flag(found, "do_rescale", True):
        result["rescale_factor"] = 1.0
    normalised = flag(found, "do_normalize", True)
    for key, neutral in (("image_mean", 0.0), ("image_std", 1.0)):
        result[key] = numbers(key, found.get(key, stock[key]) if normalised else neutral, channels)
    return result


def flag(found: Mapping[str, Any], key: str, default: bool) -> bool:
    """True or false."""
    value = found.get(key, default)
    if not isinstance(value, bool):
        raise A2AError(f"`{key}` = {value} must be true or false")
    return value


def number(key: str, value: Any) -> float:
    """A number, as float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise A2AError(f"`{key}` = {value} must be a number")
    return float(value)


def sides(key: str, value: Any, shortest: bool) -> dict[str, int]:
    """`{height, width}` or `{shortest_edge}`; a bare number is the shortest edge or a square, a pair is height and width."""
    found = value
    if type(value) is int:
        found = {"shortest_edge": value} if shortest else {"height": value, "width": value}
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        found = dict(zip(("height", "width"), value, strict=True))
    wanted = {name: side for name, side in found.items() if side is not None} if isinstance(found, Mapping) else {}
    allowed = [["height", "width"]] if key == "crop_size" else [["height", "width"], ["shortest_edge"]]
    if sorted(wanted) not in allowed or not all(type(side) is int and side > 0 for side in wanted.values()):
        raise A2AError(f"`{key}` = {value} is not understood: give {' or '.join(map(' and '.join, allowed))}, in pixels")
    return wanted


def numbers(key: str, value: Any, channels: int) -> list[float]:
    """One number or one a channel, as a list."""
    found = [number(key, item) for item in (value if isinstance(value, (list, tuple)) else [value])]
    if channels == 1 and len(found) == 3:
        found = [sum(found) / 3]
    if len(found) not in (1, channels) or (key == "image_std" and min(found) <= 0):
        raise A2AError(f"`{key}` = {value} is not understood for a model of {channels} channels")
    return found


def pixels(preprocess: Mapping[str, Any], channels: int, exact: bool = False) -> Pixels:
    """What does it, for a completed table (`exact`: see Pixels); A2AError where pictures would come out in different sizes."""
    from a2a_vision.pixels import Pixels

    size = preprocess.get("size", {})
    crop = preprocess.get("crop_size")
    try:
        return Pixels(
            mean=preprocess["image_mean"],
            std=preprocess["image_std"],
            stretch=(size["height"], size["width"]) if "height" in size else None,
            edge=size.get("shortest_edge"),
            crop=(crop["height"], crop["width"]) if crop else None,
            resample=preprocess["resample"],
            factor=preprocess["rescale_factor"],
            channels=channels,
            exact=exact,
        )
    except ValueError as error:
        raise A2AError(f"`preprocess`: {error}") from None
