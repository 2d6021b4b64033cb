"""What is saved is what was trained: written beside, read back, compared, then put in its place."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import safe_open

from a2a_core.errors import RunFailed
from a2a_core.runs import explained

if TYPE_CHECKING:
    from torch import Tensor

    from a2a_core.model import A2AModel


class Exporter(ABC):
    """One format that a model may be written in, for those who open it without a2a; see a2a_core.formats."""

    opens: str
    """What opens it."""
    merged: bool = True
    """Adapters' updates are in the weights when it is written; else they are still beside them."""
    notes: Sequence[str] = ()
    """What is to be said of what was written."""

    def misfit(self) -> str:
        """Why the model has no such shape, empty where it has; asked while adapters' updates are beside the weights."""
        return ""

    def beside(self) -> Sequence[str]:
        """The model's parts that it leaves out though they were trained."""
        return ()

    @abstractmethod
    def write(self, folder: Path) -> None:
        """Write it into a folder, which is not there yet."""

    @abstractmethod
    def compare(self, folder: Path) -> float:
        """Open what was written as anyone would; RunFailed for a tensor or a token that is another.

        Returned is by how much what the reopened model makes of an example is off, as `apart` has it.
        """


@contextmanager
def placed(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of `folder` when nothing went wrong, and else leaves nothing."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with explained(folder):
            partial.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            if folder.exists():
                shutil.rmtree(folder)
            partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def export(model: A2AModel, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Write the model to `folder`; RunFailed when what was read back is not what was to be written.

    `state` is its state where the model does not have all of it on this rank.
    """
    with placed(folder) as partial:
        model.save_pretrained(partial, state_dict=None if state is None else dict(state))  # it empties what it writes
        verify(model, partial, state)


def verify(model: A2AModel, folder: Path, state: Mapping[str, Tensor] | None = None) -> None:
    """Every tensor of the model's state is in the files once (tied ones under one name), bit for bit, and nothing else is."""
    written: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            written |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    refuse_other(model.state_dict() if state is None else state, written, folder, set(model.all_tied_weights_keys))


def refuse_other(state: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path, tied: Collection[str] = ()) -> None:
    """RunFailed unless both have the same tensors, bit for bit; `tied` ones may be missing, under their second name."""
    missing = sorted(state.keys() - found.keys() - set(tied))
    extra = sorted(found.keys() - state.keys())
    changed = sorted(
        name for name in found.keys() & state.keys() if not torch.equal(found[name].detach().cpu(), state[name].detach().cpu())
    )
    if missing or extra or changed:
        differences = {"missing": missing, "left over": extra, "changed": changed}
        listed = "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in differences.items() if names)
        raise RunFailed(f"the export in {folder} is not the model that was trained ({listed})")


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest value wherever that is above 1; infinity for another shape or NaN."""
    if found.shape != wanted.shape:
        return float("inf")
    if not wanted.numel():
        return 0.0
    found, wanted = found.detach().float(), wanted.detach().float()
    difference = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))
    return difference if difference == difference else float("inf")
