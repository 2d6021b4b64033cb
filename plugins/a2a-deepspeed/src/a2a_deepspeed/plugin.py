"""What a2a-deepspeed offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_backends() -> Offers:
    """DeepSpeed's ZeRO."""
    return {"deepspeed": "a2a_deepspeed.zero:DeepSpeedBackend"}
