"""Checkpoints: written beside, put in place with one rename, so that a killed writer leaves nothing half-read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import rotate_checkpoints

from a2a_core.runs import explained

if TYPE_CHECKING:
    from a2a_hf.engine import Engine


def write_checkpoint(engine: Engine) -> None:
    """Weights, optimizer, schedule, every rank's random state and the trainer's own, as `checkpoint-<step>`."""
    folder = Path(engine.args.output_dir)
    final = folder / f"checkpoint-{engine.state.global_step}"
    partial = folder / f".{final.name}.partial"
    try:
        with explained(final):
            write_parts(engine, partial)
            if engine.args.should_save:
                note_best(engine, folder)
                finish(engine, partial, final)
            barrier()
    except BaseException:
        if engine.args.should_save:
            shutil.rmtree(partial, ignore_errors=True)  # what is half-written would take space from the next try
        raise
    note_best(engine, folder)


def write_parts(engine: Engine, partial: Path) -> None:
    """What every rank has to write."""
    if engine.args.should_save:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    barrier()
    engine.save_model(str(partial), _internal_call=True)
    engine._save_optimizer_and_scheduler(str(partial))
    engine._save_scaler(str(partial))
    engine._save_rng_state(str(partial))
    barrier()


def finish(engine: Engine, partial: Path, final: Path) -> None:
    """The trainer's state makes it whole; then it takes its place, and old ones go."""
    collect_states(engine)
    engine.state.save_to_json(str(partial / "trainer_state.json"))
    (partial / "a2a.json").write_text(json.dumps({"back_offs": engine.gradients.back_offs}))
    sync(partial)
    shutil.rmtree(final, ignore_errors=True)
    partial.replace(final)
    rotate_checkpoints(
        output_dir=str(final.parent),
        save_total_limit=engine.args.save_total_limit,
        best_model_checkpoint=engine.state.best_model_checkpoint,
        use_mtime=False,
    )


def read_progress(engine: Engine, checkpoint: Path) -> None:
    """What a checkpoint holds beside Trainer's own."""
    file = checkpoint / "a2a.json"
    engine.gradients.back_offs = json.loads(file.read_text())["back_offs"] if file.is_file() else 0


def note_best(engine: Engine, folder: Path) -> None:
    """The best checkpoint's place, once it is one of those that are kept."""
    best = engine.state.best_global_step
    if best and (best == engine.state.global_step or (folder / f"checkpoint-{best}").is_dir()):
        engine.state.best_model_checkpoint = str(folder / f"checkpoint-{best}")


def collect_states(engine: Engine) -> None:
    """Callbacks' states and the control's, as Trainer keeps them."""
    for callback in [*engine.callback_handler.callbacks, engine.control]:
        if isinstance(callback, ExportableState):
            engine.state.stateful_callbacks[type(callback).__name__] = callback.state()


def sync(folder: Path) -> None:
    """To the disk, before the rename says that it is whole."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def barrier() -> None:
    """Wait for all ranks."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
