"""What a2a-hf offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_trainers() -> Offers:
    """transformers.Trainer underneath."""
    return {"hf": "a2a_hf.trainer:HfTrainer"}
