"""Where epochs begin and end: in rows that come as a stream the data says so, and a run that goes on begins where it stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from a2a_core import A2AError
from a2a_core.data import Batches, Collate, Streamed
from a2a_core.flow import Flow

if TYPE_CHECKING:
    from a2a_core.recipe import Parts
    from a2a_hf.engine import Engine


def flow_of(engine: Engine, data: Streamed, collate: Collate) -> Flow:
    """This rank's batches of a stream."""
    args = engine.args
    return Flow(
        data,
        collate,
        engine.config.batch_size,
        batches=args.gradient_accumulation_steps,
        rows=args.per_device_train_batch_size,
        rank=args.process_index,
        ranks=args.world_size,
        seed=args.seed,
        workers=args.dataloader_num_workers,
        pin=args.device.type == "cuda",
        tail=engine.config.tail,
    )


def refuse_distinct(parts: Parts) -> None:
    """A2AError where a loss wants rows apart: that takes knowing all of them before the first step."""
    for key, loss in parts.losses.items():
        if field := loss.distinct(parts.heads[loss.head]):
            text = f"loss `{key}` wants no two rows of a step to share `{field}`, and the rows of `train` come as a stream"
            raise A2AError(
                text, hint="let the loss do without (`distinct_positives = false`), or use a source that knows its rows"
            )


class Epochs(TrainerCallback):
    """Trainer's epochs, as the data have them.

    Trainer would walk through all batches that a run has done when it goes on; here the loader begins behind them, and the
    epoch is as much shorter. Of a stream nobody knows how many steps an epoch has: it ends with the step that is its last.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.epoch = self.batches = self.start = 0
        """The epoch that runs, its batches, and the step that it began with."""

    def begin(self, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of Trainer's `_run_epoch`, for what is left of the epoch."""
        step, accumulated = self.engine.state.global_step, self.engine.args.gradient_accumulation_steps
        resumed = given["resume_from_checkpoint"] is not None and given["epoch"] == given["epochs_trained"]
        done = given["steps_trained_in_current_epoch"] if resumed and self.engine.flow is None else 0
        self.epoch, self.batches, self.start = given["epoch"], given["steps_in_epoch"], step - done // accumulated
        order = getattr(given["train_dataloader"], "batch_sampler", None)
        if isinstance(order, Batches):
            order.skip(done)
        return given | {
            "steps_trained_in_current_epoch": 0,
            "steps_in_epoch": given["steps_in_epoch"] - done,
            "num_update_steps_per_epoch": given["num_update_steps_per_epoch"] - done // accumulated,
        }

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What part of the epoch is done; of a stream, how many epochs are."""
        flow = self.engine.flow
        if flow is None:
            done = (state.global_step - self.start) * args.gradient_accumulation_steps
            state.epoch = self.epoch + min(done, self.batches) / self.batches
            return
        state.epoch = float(flow.epoch)
        control.should_epoch_stop = flow.over

    def over(self) -> bool:
        """Whether the latest step was its epoch's last."""
        flow, epoch = self.engine.flow, self.engine.state.epoch
        return flow.over if flow is not None else epoch is not None and float(epoch).is_integer()
