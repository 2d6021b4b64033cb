"""One run for all ranks that another launcher started."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from a2a_core.errors import A2AError, Problem
from a2a_core.runs import Run


def agreed(choose: Callable[[], Run]) -> Run:
    """One run for all ranks that torchrun started: the first rank's choice, and its mistake, are everybody's."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return choose()
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    from a2a_core import training

    store, _, _ = next(iter(rendezvous("env://")))
    store = PrefixStore(f"a2a/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    if training.main_rank():
        try:
            answer: dict[str, Any] = {"folder": str(choose().folder.resolve())}
        except A2AError as error:
            answer = {"problems": [(problem.message, problem.hint) for problem in error.problems]}
        store.set("run", json.dumps(answer))
    answer = json.loads(store.get("run"))
    if "problems" in answer:
        raise A2AError([Problem(message, hint=hint) for message, hint in answer["problems"]])
    return Run(Path(answer["folder"]))
