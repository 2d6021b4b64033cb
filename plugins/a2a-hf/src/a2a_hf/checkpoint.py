"""Checkpoints: written beside, put in place with one rename, so that a killed writer leaves nothing half-read.

Weights are one `model.safetensors`, or, where the backend shards them, with the optimizer's state in `state/`: safetensors
too, written by torch.distributed.checkpoint, each rank its share. All tensors go by the names of the model's parameters, so
that any backend on any number of ranks goes on from any checkpoint.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from transformers.trainer_callback import ExportableState

from a2a_core import RunFailed, manifest
from a2a_core.holding import Shapes
from a2a_core.ranks import agreed, gathered, together
from a2a_core.runs import explained
from a2a_hf.keeping import rotate

if TYPE_CHECKING:
    from a2a_hf.engine import Engine

# a process alone saves and loads by itself: torch warns of it in the thread that writes, too
warnings.filterwarnings("ignore", "torch.distributed is disabled")
WEIGHTS, OPTIMIZER = "model.", "optimizer."
"""What names begin with in `state/`."""


class Checkpoints:
    """One rank's writer. With `save_async` training goes on while files are written: from a copy, one checkpoint at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.writing: Future[None] | None = None
        self.thread = ThreadPoolExecutor(1, "checkpoint")
        self.group: Any = None

    def write(self) -> None:
        """Weights, optimizer, schedule, every rank's random state and the trainer's own, as `checkpoint-<step>`."""
        engine = self.engine
        self.wait()
        folder = Path(engine.args.output_dir)
        final = folder / f"checkpoint-{engine.state.global_step}"
        partial = folder / f".{final.name}.partial"
        note_best(engine, folder)
        try:
            agreed(lambda: self.begin(folder, partial))
            states = gathered(engine.position())
            agreed(lambda: self.small(partial, states))
            about = {"step": engine.state.global_step, "ranks": engine.args.world_size}
            self.large(partial, final, about | {"backend": engine.job.recipe.backend.name})
        except BaseException:
            self.clean(partial)
            raise
        if not engine.config.save_async:
            self.wait()

    def begin(self, folder: Path, partial: Path) -> None:
        """A new folder; what killed writers left would take space for ever."""
        if self.engine.args.should_save:
            with explained(partial):
                for left in folder.glob(".checkpoint-*.partial"):
                    shutil.rmtree(left, ignore_errors=True)
                partial.mkdir(parents=True)

    def small(self, partial: Path, positions: list[Any]) -> None:
        """What is written at once: random states, the schedule, the trainer's own state."""
        engine = self.engine
        with explained(partial):
            engine._save_rng_state(str(partial))
            if not engine.args.should_save:
                return
            engine._save_scaler(str(partial))
            torch.save(engine.lr_scheduler.state_dict(), partial / "scheduler.pt")
            engine.job.model.config.save_pretrained(partial)
            collect_states(engine)
            engine.state.save_to_json(str(partial / "trainer_state.json"))
            judged = engine.judged[1] if engine.judged[0] == engine.state.global_step else None
            own = {"back_offs": engine.gradients.back_offs, "judged": judged, "groups": rates(engine)}
            (partial / "a2a.json").write_text(json.dumps(own))
            (partial / "data.json").write_text(json.dumps(positions))

    def large(self, partial: Path, final: Path, about: Mapping[str, Any]) -> None:
        """Tensors, copied here and written behind training's back."""
        engine, holding = self.engine, self.engine.holding
        held = holding.state()
        state: dict[str, Tensor] = {f"{OPTIMIZER}{name}": each for name, each in held.items() if isinstance(each, Tensor)}
        every = gathered({name: each for name, each in held.items() if not isinstance(each, Tensor)})
        plain = {name: each for several in every for name, each in several.items()}
        whole: dict[str, Tensor] = {}
        if holding.sharded:
            state |= {f"{WEIGHTS}{name}": each for name, each in untied(engine, engine.job.model.state_dict()).items()}
        else:
            whole = {name: each.clone() for name, each in untied(engine, holding.weights()).items()}
        tensors = whole | state
        outlines = gathered({name: outline(each) for name, each in tensors.items()})
        tensors = {name: each for several in outlines for name, each in several.items()}
        written = self.shards(state, partial / "state") if any(gathered(bool(state))) else None

        def finish() -> None:
            try:
                with explained(final):
                    if engine.args.should_save:
                        (partial / "optimizer.json").write_text(json.dumps(plain))
                        if whole:
                            save_file(whole, partial / "model.safetensors", {"format": "pt"})
                    if written is not None:
                        said(written)
                    if engine.args.should_save:
                        manifest.write(partial, tensors, **about)
                        shutil.rmtree(final, ignore_errors=True)
                        partial.replace(final)
                        manifest.sync(final.parent)
                        rotate(engine.job.run, engine.config, engine.args.greater_is_better, engine.state.best_model_checkpoint)
            except BaseException:
                if written is not None:
                    wait([written])  # it would go on writing into what is being deleted
                self.clean(partial)
                raise

        self.writing = self.thread.submit(finish)

    def shards(self, state: dict[str, Tensor], folder: Path) -> Future[Any]:
        """Each rank's share; on a process group of its own, beside what training exchanges."""
        if together() and self.group is None:
            self.group = dist.new_group(backend="gloo", timeout=timedelta(seconds=self.engine.args.ddp_timeout))
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        found: Any = dcp.async_save(state, storage_writer=writer, process_group=self.group, no_dist=not together())
        return found  # type: ignore[no-any-return]

    def failed(self) -> bool:
        """Whether what was being written will not be there."""
        return self.writing is not None and self.writing.done() and self.writing.exception() is not None

    def wait(self) -> None:
        """Until nothing is being written any more; raises, on every rank, what kept one of them from writing."""
        writing, self.writing = self.writing, None
        if writing is not None:
            agreed(writing.result)

    @contextmanager
    def written(self) -> Iterator[None]:
        """Leave only when nothing is being written any more; after an error, which may be this one, without more words."""
        try:
            yield
        except BaseException:
            if self.writing is not None:
                wait([self.writing])
            raise
        self.wait()

    def clean(self, partial: Path) -> None:
        """What is half-written would take space from the next try."""
        if self.engine.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)


def said(written: Future[Any]) -> None:
    """Wait for it; its exceptions are no Exceptions."""
    try:
        written.result()
    except CheckpointException as error:
        raise RuntimeError(str(error)) from error


def read_checkpoint(engine: Engine, checkpoint: Path) -> None:
    """All but weights and random states, into what Trainer has made; weights were read before anything was wrapped."""
    note_best(engine, checkpoint.parent)
    own = json.loads((checkpoint / "a2a.json").read_text())
    engine.gradients.back_offs = own["back_offs"]
    there = shapes(checkpoint, OPTIMIZER)
    plain = json.loads((checkpoint / "optimizer.json").read_text())

    def read(made: dict[str, Tensor]) -> None:
        load({f"{OPTIMIZER}{name}": each for name, each in made.items()}, checkpoint)

    engine.holding.restore(there, plain, read)
    engine.lr_scheduler.load_state_dict(torch.load(checkpoint / "scheduler.pt", weights_only=True))
    restore_rates(engine, own["groups"])
    engine._load_scaler(str(checkpoint))
    engine.go_on_from(json.loads((checkpoint / "data.json").read_text()))


def load(state: dict[str, Tensor], checkpoint: Path) -> None:
    """Fill tensors, or this rank's shares of them, by name."""
    if state:
        dcp.load(state, storage_reader=HuggingFaceStorageReader(str(checkpoint / "state")), no_dist=True)


def read_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The model's state, whole."""
    file = checkpoint / "model.safetensors"
    if file.is_file():
        return load_file(file)
    sizes = shapes(checkpoint, WEIGHTS)
    if not sizes:
        raise RunFailed(f"{checkpoint} has no weights")
    made = {name: torch.empty(size, dtype=dtype) for name, (size, dtype) in sizes.items()}
    load({f"{WEIGHTS}{name}": each for name, each in made.items()}, checkpoint)
    return made


def shapes(checkpoint: Path, kind: str) -> Shapes:
    """The tensors of a kind in `state/`, by their names after it."""
    folder = checkpoint / "state"
    known = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata if folder.is_dir() else {}
    tensors = {name: each for name, each in known.items() if isinstance(each, TensorStorageMetadata)}
    return {
        name.removeprefix(kind): (torch.Size(each.size), each.properties.dtype)
        for name, each in tensors.items()
        if name.startswith(kind)
    }


def untied(engine: Engine, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tied tensors under one of their names."""
    tied = engine.job.model.all_tied_weights_keys
    return {name: each for name, each in state.items() if name not in tied}


def outline(tensor: Tensor) -> Tensor:
    """A tensor's shape and type, without its values: what a manifest tells, sent to other ranks."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def rates(engine: Engine) -> list[dict[str, float]]:
    """The learning rates of the optimizer's groups: asked for, and as they are."""
    groups = engine.optimizer.param_groups
    return [
        {"asked": asked} | {key: float(group[key]) for key in ("lr", "initial_lr") if key in group}
        for asked, group in zip(engine.asked_rates, groups, strict=True)
    ]


def restore_rates(engine: Engine, saved: list[dict[str, float]]) -> None:
    """Go on with the rates that were saved, in the proportion in which the recipe asks for others now."""
    factors = [now / each["asked"] for now, each in zip(engine.asked_rates, saved, strict=True)]
    for group, each, factor in zip(engine.optimizer.param_groups, saved, factors, strict=True):
        group |= {key: value * factor for key, value in each.items() if key != "asked"}
    scheduler = engine.lr_scheduler
    for name in ("base_lrs", "_last_lr"):
        if isinstance(getattr(scheduler, name, None), list):
            setattr(scheduler, name, [rate * factor for rate, factor in zip(getattr(scheduler, name), factors, strict=True)])


def note_best(engine: Engine, folder: Path) -> None:
    """The best checkpoint's place, once it is one of those that are kept: its run may have lain elsewhere before."""
    best = engine.state.best_global_step
    if best and (best == engine.state.global_step or (folder / f"checkpoint-{best}").is_dir()):
        engine.state.best_model_checkpoint = str(folder / f"checkpoint-{best}")


def collect_states(engine: Engine) -> None:
    """Callbacks' states and the control's, as Trainer keeps them."""
    for callback in [*engine.callback_handler.callbacks, engine.control]:
        if isinstance(callback, ExportableState):
            engine.state.stateful_callbacks[type(callback).__name__] = callback.state()
