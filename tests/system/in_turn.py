"""As a script, one rank that trains several recipes in turn: `in_turn.py PLAN`, PLAN a JSON list of [port, words of `a2a`].

What a process costs, seconds of imports, is paid once for all of them. The rank joins as under SLURM: RANK, WORLD_SIZE and
MASTER_ADDR are there already, and each training has a MASTER_PORT of its own. Whatever a training leaves behind in the
process is put back, so that none knows of the one before.
"""

import gc
import json
import os
import sys
from pathlib import Path


def main(plan: Path) -> None:
    """Every training of the plan; the first that fails ends the process."""
    from a2a_cli.main import a2a

    before = dict(os.environ)
    for port, words in json.loads(plan.read_text()):
        os.environ["MASTER_PORT"] = str(port)
        code = a2a.main(words, standalone_mode=False)
        if code:
            sys.exit(code)
        forget()
        os.environ.clear()
        os.environ.update(before)


def forget() -> None:
    """What libraries keep for a whole process."""
    import torch.distributed as dist
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    gc.collect()
    assert not dist.is_initialized()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
