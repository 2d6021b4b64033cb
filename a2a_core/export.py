"""What is saved is what was trained: written beside, read back, compared, then put in its place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch
from safetensors import safe_open

from a2a_core.errors import RunFailed
from a2a_core.model import A2AModel
from a2a_core.runs import explained


def export(model: A2AModel, folder: Path) -> None:
    """Write the model to `folder`; RunFailed when what was read back is not what was to be written."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with explained(folder):
            model.save_pretrained(partial)
            verify(model, partial)
            if folder.exists():
                shutil.rmtree(folder)
            partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def verify(model: A2AModel, folder: Path) -> None:
    """Every tensor of the model's state is in the files once (tied ones under one name), bit for bit, and nothing else is."""
    written: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            written |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tied = set(model.all_tied_weights_keys)
    state = model.state_dict()
    missing = sorted(state.keys() - written.keys() - tied)
    extra = sorted(written.keys() - state.keys())
    changed = sorted(
        name for name in written.keys() & state.keys() if not torch.equal(written[name], state[name].detach().cpu())
    )
    if missing or extra or changed:
        found = {"missing": missing, "left over": extra, "changed": changed}
        listed = "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in found.items() if names)
        raise RunFailed(f"the export in {folder} is not the model that was trained ({listed})")
