"""DeepSpeed's engine, as training loops made for torch's optimizers call it."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from torch import nn
from torch.optim import Optimizer

from a2a_core import A2AError, RunFailed

warnings.filterwarnings("ignore", r".*torch\.distributed\.\w+.* is deprecated", FutureWarning)  # what DeepSpeed still calls


def start(model: nn.Module, optimizer: Optimizer, settings: Mapping[str, Any]) -> Any:
    """An engine around both; A2AError for settings that DeepSpeed does not take."""
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    import deepspeed
    import deepspeed.ops

    if next(model.parameters()).device.type == "cpu":
        deepspeed.ops.__compatible_ops__ = {}  # else it compiles collectives for inference, which nobody calls
    try:
        with redirect_stdout(io.StringIO()):
            engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=dict(settings), dist_init_required=False)
    except (ValueError, AssertionError) as error:
        raise A2AError(f"DeepSpeed does not take its settings: {told(error)}", hint="see `backend.config`") from error
    return engine


def told(error: Exception) -> str:
    """What pydantic has to say of each key, in one line."""
    several = error.errors() if hasattr(error, "errors") else ()
    return "; ".join(f"`{'.'.join(map(str, each['loc']))}`: {each['msg']}" for each in several) or str(error)


def verify(engine: Any, stage: int, ranks: int) -> None:
    """RunFailed unless the engine is of this stage, over so many ranks."""
    runs = (int(engine.zero_optimization_stage()), int(engine.dp_world_size))
    if runs != (stage, ranks):
        raise RunFailed(f"DeepSpeed runs stage {runs[0]} on {runs[1]} rank(s), asked for was {stage} on {ranks}")


class ZeroModel(nn.Module):
    """Its forward passes are the engine's."""

    def __init__(self, engine: Any, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.__dict__["engine"] = engine  # no part of this module: it has the model in it, too

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Of the engine."""
        return self.__dict__["engine"](*inputs, **named)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Nothing to do: which backward pass was the last one is said when all are done."""
        yield


class Updates:
    """The optimizer as it was, but that its step is the engine's."""

    def __init__(self, update: Callable[[], None], optimizer: Optimizer) -> None:
        self.update, self.optimizer = update, optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.optimizer, name)

    def step(self, closure: None = None) -> None:
        """See ZeroHolding.update."""
        self.update()
