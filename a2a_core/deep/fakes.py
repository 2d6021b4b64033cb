"""The model and its batches as fake tensors: shapes and types without values, so that nothing is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from a2a_core.model import A2AConfig, A2AModel
from a2a_core.recipe import plain
from a2a_core.structures import Batch

if TYPE_CHECKING:
    from a2a_core.recipe import Parts


class Fakes:
    """One world of fake tensors, on the device that the run would compute on."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.mode: Any = FakeTensorMode(allow_non_fake_inputs=True)

    def model(self, parts: Parts) -> A2AModel:
        """The model, no weights read; raises what its parts raise.

        By contract parts can be built on the meta device; what they compute on the CPU meanwhile is real, and small.
        """
        with torch.device("meta"):
            model = A2AModel(A2AConfig(parts=plain(parts)), parts)
        self.fill(model)
        return model

    def fill(self, model: nn.Module) -> None:
        """Fake tensors for those on the meta device: a part may ask where it is, and then do something else."""
        made: dict[int, Tensor] = {}  # a tensor that is shared stays so

        def fake(tensor: Tensor) -> Tensor:
            if id(tensor) not in made:
                with self.mode:
                    new = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=self.device)
                made[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else new
            return made[id(tensor)]

        for module in model.modules():
            for table in (module._parameters, module._buffers):
                for name, tensor in table.items():
                    if tensor is not None:
                        table[name] = fake(tensor)  # type: ignore[assignment]

    def batch(self, real: Batch, rows: int) -> Batch:
        """A real batch with so many rows: what has rows or items in dimension 0 grows or shrinks in proportion.

        Where several share a place (see Collate.group), `rows` counts places. Texts are all as long as the longest, or
        where they share places, as long as fills those: then the same operations run for any number of rows. So are media
        that the fusion reads itself.
        """
        size, together = real["inputs"]["size"], real.get("together", 1)
        samples = rows * together
        inputs = {key: self._scaled(value, samples, size) for key, value in real["inputs"].items()}
        if "lengths" in inputs.get("text", ()):  # not of an encoder that is called so
            longest = max(real["inputs"]["text"]["lengths"]) if together == 1 else real["long"]
            inputs["text"] |= {key: self._empty((samples * longest,), torch.int64) for key in ("ids", "positions")}
            inputs["text"]["lengths"] = [longest] * samples
        for key, pad in real.get("alike", {}).items():
            count = len(inputs[key]["row"])
            tensors, tokens = pad(count)
            inputs[key]["tensors"] = self._scaled(tensors, 1, 1)
            inputs["text"]["media"][key] = self._empty((tokens,), torch.int64)
        return {"inputs": inputs | {"size": samples}, "targets": self._scaled(real["targets"], samples, size)}

    def _scaled(self, value: Any, rows: int, size: int) -> Any:
        if isinstance(value, Tensor):
            return self._empty((math.ceil(value.shape[0] * rows / size), *value.shape[1:]) if value.ndim else (), value.dtype)
        if isinstance(value, Mapping):
            return {key: self._scaled(item, rows, size) for key, item in value.items()}
        return value

    def _empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        with self.mode:
            return torch.empty(shape, dtype=dtype, device=self.device)


def bytes_of(tensors: Any) -> int:
    """Of the storages of tensors, those that share one counted once."""
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def every_tensor(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return [*module.parameters(), *module.buffers()]
