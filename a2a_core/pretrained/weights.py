"""Pretrained weights into what `build` made, with every tensor accounted for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import PretrainedConfig
from transformers.utils import logging

from a2a_core.errors import A2AError, RunFailed
from a2a_core.pretrained.configuration import gist

SHOWN = 20
REPORTS: Any = logging  # carries no types
UNREADABLE = (AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError, SafetensorError)
"""What transformers and safetensors raise for files that are damaged, pickled, quantised or not there."""


def load_pretrained(
    model: nn.Module,
    path: Path,
    *,
    config: PretrainedConfig | None = None,
    via: Any = None,
    part: Callable[[Any], Any] = lambda whole: whole,
    unused: Collection[str] = (),
    **options: Any,
) -> set[str]:
    """Copy the weights of a directory that `save_pretrained` wrote into a model of transformers, as float32.

    The files may hold a bigger model around this one, under its base model's prefix, and old names that transformers
    converts. `via` and `config` are what is loaded where the model is but a `part` of it (default: the model's own class);
    `options` go to its `from_pretrained`. Only safetensors are opened, no pickles.

    A2AError when the files cannot be read, lack one of the model's tensors or have one of another shape; tensors that are
    `unused` may be missing. The names that the files hold beyond what was asked for are returned: heads, later layers.
    """
    owner: Any = via or type(model)
    try:
        with quiet():
            whole, report = owner.from_pretrained(
                path,
                config=config or model.config,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
    except UNREADABLE as error:
        raise A2AError(f"the weights in {path} cannot be read: {gist(error)}") from None
    own, found = set(model.state_dict()), part(whole).state_dict(keep_vars=True)
    needed = {id(found[name]) for name in own.difference(unused)}
    names = {name for name, tensor in whole.state_dict(keep_vars=True).items() if id(tensor) in needed}
    misshapen = {name: f"{name} ({list(was)} for {list(wanted)})" for name, was, wanted in report["mismatched_keys"]}
    refuse(path, "lacks {} of the model's weights", names & set(report["missing_keys"]) - misshapen.keys())
    refuse(path, "has {} of the model's weights in another shape", (misshapen[name] for name in names & misshapen.keys()))
    model.load_state_dict({name: found[name] for name in own})
    return set(report["unexpected_keys"])


def reopened(owner: Any, folder: Path, **options: Any) -> Any:
    """A model of transformers, of what was written; RunFailed where a tensor is missing or left over."""
    with quiet():
        model, report = owner.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
        )
    wrong = {what: sorted(map(str, report[what])) for what in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    listed = "; ".join(f"{what.replace('_', ' ')}: {', '.join(names[:5])}" for what, names in wrong.items() if names)
    if listed:
        raise RunFailed(f"{type(model).__name__} does not open what was written ({listed})")
    return model.eval()


def refuse(path: Path, complaint: str, names: Iterable[str]) -> None:
    """A2AError that lists some tensors, if there are any; `{}` in the complaint is how many."""
    listed = sorted(names)
    if listed:
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        raise A2AError(f"{path} {complaint.format(len(listed))}: {', '.join(listed[:SHOWN])}{more}")


def refill_buffers(model: Any) -> None:
    """Refill what no file holds (position ids, rotary frequencies): transformers' own initialisation.

    It skips what is marked as initialised, which here is all that is saved.
    """
    for tensor in model.state_dict(keep_vars=True).values():
        tensor._is_hf_initialized = True
    for module in model.modules():
        module._is_hf_initialized = False
    model.initialize_weights()


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' warnings and bars: what is wrong with a file is said by us, and once."""
    verbosity, bars = REPORTS.get_verbosity(), REPORTS.is_progress_bar_enabled()
    REPORTS.set_verbosity_error()
    REPORTS.disable_progress_bar()
    try:
        yield
    finally:
        REPORTS.set_verbosity(verbosity)
        if bars:
            REPORTS.enable_progress_bar()
