"""What happens to gradients between backward and the optimizer's step: checked, frozen by schedule, measured, clipped."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from a2a_core import A2AError, Batch, Problem, RunFailed
from a2a_core.holding import Holding
from a2a_core.job import Job
from a2a_core.runs import explained
from a2a_hf.groups import Assigned
from a2a_hf.trainer import HfTrainer

BACK_OFF = 0.5


class Gradients:
    """One rank's gradients; equal on all ranks once data parallelism has averaged them."""

    def __init__(self, config: HfTrainer, model: nn.Module, groups: list[Assigned], holding: Holding) -> None:
        self.config, self.model, self.holding = config, model, holding
        self.groups = {each.name: list(each.parameters.values()) for each in groups}
        self.late = late(model, groups)
        self.checked = False
        self.back_offs = 0
        self.overflows = 0
        """Steps without a break whose scaled gradient (fp16) was not finite."""
        self.last: dict[str, Tensor] = {}

    def step(self, done: int, steps: int) -> float:
        """Work on the gradients of the step after `done` of `steps`; returns their norm before clipping."""
        holding, most = self.holding, self.config.max_grad_norm
        if not self.checked:
            self.checked = True
            refuse_unreached(holding.unreached())
            refuse_never([until for until, _ in self.late], steps)
        frozen = [parameter for until, parameter in self.late if done < freeze_steps(until, steps)]
        if frozen:
            holding.drop(frozen)
        self.last = holding.norms(self.groups)
        norms = list(self.last.values())
        total = norms[0] if len(norms) == 1 else torch.nn.utils.get_total_norm(norms)
        found = float(total)
        if 0 < most < found:
            holding.clip([each for several in self.groups.values() for each in several], total, most)
        return found

    def norms(self) -> dict[str, float]:
        """The norm of each named group at the last step."""
        return {f"grad_norm/{name}": float(norm) for name, norm in self.last.items() if name}

    def not_finite(self, window: list[Batch], step: int, job: Job, scheduler: Any, optimizer: Any) -> None:
        """Dump the window; stop, or by recipe skip this step and halve the learning rate."""
        names = self.holding.unsound()
        place = dump(window, step, job, names)
        self.back_offs += 1
        message = f"the gradient of step {step} is not finite; its rows are in {place}"
        hint = f"first parameters hit: {', '.join(names[:3])}. Look for NaN in the inputs, or lower `trainer.learning_rate`"
        if self.config.on_nan == "stop" or self.back_offs > self.config.max_back_offs:
            raise RunFailed([Problem(message, hint=hint)])
        job.reporter.note(f"{message}; the step is skipped and the learning rate is halved")
        for parameter in self.model.parameters():
            parameter.grad = None
        if hasattr(scheduler, "base_lrs"):  # a schedule by evaluations has none
            scheduler.base_lrs = [rate * BACK_OFF for rate in scheduler.base_lrs]
        for group in optimizer.param_groups:
            for key in {"lr", "initial_lr"} & group.keys():
                group[key] *= BACK_OFF


def late(model: nn.Module, groups: list[Assigned]) -> list[tuple[float, nn.Parameter]]:
    """Parameters that are trained later, by their group's `freeze_until` or by an adapter, and until when they are not."""
    thaws: dict[str, float] = getattr(model, "thaws", {})
    named = {name: (each.group.freeze_until, parameter) for each in groups for name, parameter in each.parameters.items()}
    found = [(until, parameter) for until, parameter in named.values() if until]
    return found + [(until, named[name][1]) for name, until in thaws.items()]


def freeze_steps(until: float, steps: int) -> int:
    """`freeze_until` in optimizer steps."""
    return math.ceil(until * steps) if until < 1 else math.ceil(until)


def refuse_unreached(lost: list[str]) -> None:
    """A trainable parameter that no loss reaches would be saved as it was initialised: an error."""
    if lost:
        listed = ", ".join(lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
        raise A2AError(
            f"{len(lost)} trainable parameter(s) receive no gradient: {listed}",
            hint="freeze them, or give a loss to the head that they belong to",
        )


def refuse_never(untils: list[float], steps: int) -> None:
    """What would be trained from a step on that the run does not have is an error."""
    last = max(untils, default=0.0)
    if untils and freeze_steps(last, steps) >= steps:
        raise A2AError(
            f"parameters are frozen until step {last:g}, and the run has {steps}: they would never be trained",
            hint="a share of all steps is a number below 1; what is never trained is frozen without a step",
        )


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a nested batch, each by its path."""
    if isinstance(value, Tensor):
        yield name, value.detach().cpu().contiguous()
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{name}.{key}" if name else str(key))


def dump(window: list[Batch], step: int, job: Job, names: list[str]) -> str:
    """A window's tensors and row ids, in the run's folder."""
    folder = job.run.folder / "nan"
    rank = os.environ.get("RANK")
    name = f"step-{step}" if rank is None else f"step-{step}-rank-{rank}"
    with explained(folder):
        folder.mkdir(exist_ok=True)
        for place, batch in enumerate(window):
            save_file(dict(tensors(batch)), folder / f"{name}-{place}.safetensors")
        about = {"step": step, "ids": [batch["ids"] for batch in window], "parameters": names}
        (folder / f"{name}.json").write_text(json.dumps(about, indent=1))
    return str(folder / f"{name}.json")
