"""Pictures as the image processors of transformers make them, and their batches: of one size, or as patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import transformers
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.models.auto import image_processing_auto
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
    get_vision_window_index,
)

from a2a_core import A2AError, Item
from a2a_core.errors import suggest
from a2a_core.pretrained.configuration import gist

if TYPE_CHECKING:
    from transformers import PretrainedConfig

KIND = "image_processor_type"
AUTO: Any = image_processing_auto  # carries no types
CALLS = ("data_format", "input_data_format", "device", "return_tensors", "disable_grouping")
"""What a call says, not a file."""


def completed(
    config: PretrainedConfig, file: Mapping[str, Any], given: Mapping[str, Any], option: str = "image_processor"
) -> dict[str, Any]:
    """How pictures are prepared, as values that TOML has: the recipe's keys, over the directory's file, over the stock ones.

    The result comes out the same when it is completed again. A2AError for what transformers does not know.
    """
    found = {**fitted(config), **(file or {}), **given} if not file.get(KIND) else {**file, **given}
    cls = stock_class(str(found.get(KIND) or default_kind(config)))
    known = set(cls.valid_kwargs.__annotations__).difference(CALLS) | {KIND}
    for key in given:
        if key not in known:
            raise A2AError(f"`{option}` has an unknown key `{key}`", hint=suggest(key, known))
    try:
        values = cls(**{key: value for key, value in found.items() if key in known - {KIND}}).to_dict()
    except (TypeError, ValueError) as error:
        raise A2AError(f"`{option}`: {gist(error)}") from None
    return {key: tabled(values[key]) for key in sorted(values) if values[key] is not None}


def default_kind(config: PretrainedConfig) -> str:
    """The stock class of a model, else of its vision tower; A2AError where transformers has none."""
    if hasattr(config.vision_config, "spatial_merge_size"):
        return "Qwen2VLImageProcessor"
    tower = str(config.vision_config.model_type).removesuffix("_vision_model")
    found = AUTO.IMAGE_PROCESSOR_MAPPING_NAMES.get(tower) or AUTO.IMAGE_PROCESSOR_MAPPING_NAMES.get(config.model_type)
    if not found or not found.get("pil"):
        raise A2AError(f"no image processor is known for a `{config.vision_config.model_type}`: set `image_processor.{KIND}`")
    return str(found["pil"])


def fitted(config: PretrainedConfig) -> dict[str, Any]:
    """What a configuration without a file says: the size of pictures, or of patches."""
    vision = config.vision_config
    if hasattr(vision, "spatial_merge_size"):
        names = {"patch_size": "patch_size", "temporal_patch_size": "temporal_patch_size", "merge_size": "spatial_merge_size"}
        return {key: getattr(vision, name) for key, name in names.items()}
    side = vision.image_size
    square = {"height": side, "width": side}
    cropped = getattr(stock_class(default_kind(config)), "do_center_crop", None)
    return {"size": {"shortest_edge": side}, "crop_size": square} if cropped else {"size": square}


def stock_class(kind: str) -> Any:
    """transformers' class without torchvision; A2AError where there is none."""
    name = kind.removesuffix("Fast").removesuffix("Pil") + "Pil"
    found = getattr(transformers, name, None)
    if found is None:
        raise A2AError(f"transformers has no image processor `{kind}` that works without torchvision")
    return found


def tabled(value: Any) -> Any:
    """A value that TOML has."""
    if isinstance(value, Mapping):
        return {key: tabled(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [tabled(each) for each in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


class StockImages:
    """Raw image -> what transformers' image processor makes of it; `settings` as `completed`."""

    deterministic = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "stock"}

    @cached_property
    def stock(self) -> Any:
        """transformers' own."""
        return stock_class(self.settings[KIND])(**{key: value for key, value in self.settings.items() if key != KIND})

    def prepared(self, raw: Any) -> Mapping[str, Tensor]:
        """ValueError for what is no image."""
        from a2a_vision.reading import read_image

        found: Mapping[str, Tensor] = self.stock(images=[read_image(raw, 3)], return_tensors="pt")
        return found


class PictureProcessor(StockImages):
    """Pictures of one size, all as many tokens."""

    def __init__(self, settings: Mapping[str, Any], shape: Sequence[int], length: int) -> None:
        super().__init__(settings)
        self.shape, self.length = tuple(shape), length

    def __call__(self, raw: Any) -> Item:
        """`pixel_values` (channels, height, width)."""
        pixels = self.prepared(raw)["pixel_values"][0]
        if pixels.shape != self.shape:
            made, wanted = (" x ".join(map(str, each[1:])) for each in (pixels.shape, self.shape))
            raise ValueError(f"the picture comes out in {made} pixels, others in {wanted}: set `image_processor.size`")
        return Item({"pixel_values": pixels}, self.length)

    def pad(self, items: Sequence[Item]) -> dict[str, Any]:
        """`pixel_values` (N, channels, height, width)."""
        return {"pixel_values": torch.stack([item.tensors["pixel_values"] for item in items])}

    def by_item(self, items: Sequence[Item]) -> dict[str, Any]:
        """The same: each is a row of its own."""
        return self.pad(items)

    def dummy(self) -> Item:
        """A picture of the mean colour."""
        return Item({"pixel_values": torch.zeros(self.shape)}, self.length)


class Tower(NamedTuple):
    """What a vision tower of the Qwen family lays its patches out by."""

    merge: int
    patch: int
    window: int | None = None
    """Pixels of a window's side, where some layers attend within windows."""
    side: int | None = None
    """Of its square of learned positions, which are interpolated."""

    @classmethod
    def of(cls, vision: Any) -> Tower:
        """A configuration's."""
        positions = getattr(vision, "num_position_embeddings", None)
        side = int(positions**0.5) if positions else None
        return cls(vision.spatial_merge_size, vision.patch_size, getattr(vision, "window_size", None), side)

    def plan(self, grids: Tensor) -> dict[str, Any]:
        """What the tower would work out of grids (N, 3) on the device, waiting for it.

        `pieces` and `windows` are lengths; `window_index` leads to merged patches.
        """
        found: dict[str, Any] = {
            "position_ids": get_vision_position_ids(grids, self.merge),
            "pieces": [height * width for time, height, width in grids.tolist() for _ in range(time)],
        }
        if self.window is not None:
            found["window_index"], ends = get_vision_window_index(grids, self.merge, self.window, self.patch)
            found["windows"] = ends.diff().tolist()
        if self.side is not None:
            found["interp_indices"], found["interp_weights"] = get_vision_interpolation_indices_and_weights(
                grids, self.side, align_corners=True, spatial_merge_size=self.merge
            )
        return found


def side_by_side(plans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The plan of what several plans lay out, one behind the other; of all lists and tensors alike."""
    found: dict[str, Any] = {}
    merged = 0
    for plan in plans:
        for name, value in plan.items():
            shifted = value + merged if name == "window_index" else value
            found.setdefault(name, []).append(shifted)
        merged += len(plan.get("window_index", ()))
    return {
        name: torch.cat(each) if isinstance(each[0], Tensor) else [length for lengths in each for length in lengths]
        for name, each in found.items()
    }


class PatchProcessor(StockImages):
    """Pictures of any size as patches: as many tokens as they have squares of `merge` x `merge` patches.

    In a batch, patches of all pictures lie one behind the other: `pixel_values` (patches, values of a patch), `grids` says how
    many each has in time, height and width, `plan` what the tower is told of them. The last two hold numbers, no tensors that
    a device would have to be asked for.
    """

    def __init__(self, settings: Mapping[str, Any], tower: Tower) -> None:
        super().__init__(settings)
        self.tower = tower

    def __call__(self, raw: Any) -> Item:
        """`pixel_values` (patches, values), `grid` (3,)."""
        found = self.prepared(raw)
        return self.item(found["pixel_values"], found["image_grid_thw"][0])

    def item(self, pixels: Tensor, grid: Tensor, **others: Tensor) -> Item:
        """Patches and how they lie."""
        return Item({"pixel_values": pixels, "grid": grid, **others}, int(grid.prod()) // self.tower.merge**2)

    def pad(self, items: Sequence[Item]) -> dict[str, Any]:
        """One behind the other."""
        grids = torch.stack([item.tensors["grid"] for item in items])
        pixels = torch.cat([item.tensors["pixel_values"] for item in items])
        return {"pixel_values": pixels, "grids": grids.tolist(), "plan": self.tower.plan(grids)}

    def by_item(self, items: Sequence[Item]) -> dict[str, Any]:
        """As `pad`, but each item in a row of its own: `pixel_values` (N, patches, values); see a2a_llm.hf_multimodal_rows."""
        plans = [self.tower.plan(item.tensors["grid"][None]) for item in items]
        found = {"pixel_values": pad_sequence([item.tensors["pixel_values"] for item in items], batch_first=True)}
        for name in plans[0].keys() - {"pieces"}:
            found[name] = pad_sequence([torch.as_tensor(plan[name]) for plan in plans], batch_first=True)
        numbers = {"grids": torch.stack([item.tensors["grid"] for item in items])}
        numbers |= {"windows": found.pop("windows")} if "windows" in found else {}
        return found | {name: value.numpy() for name, value in numbers.items()}

    def dummy(self) -> Item:
        """One token of the mean colour."""
        merge = self.tower.merge
        depth = self.settings["temporal_patch_size"] * self.settings["patch_size"] ** 2 * 3
        return self.item(torch.zeros(merge * merge, depth), torch.tensor([1, merge, merge]))
