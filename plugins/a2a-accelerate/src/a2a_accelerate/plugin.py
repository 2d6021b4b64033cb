"""What a2a-accelerate offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_backends() -> Offers:
    """One process, or several."""
    return {"single": "a2a_accelerate.single:SingleBackend", "ddp": "a2a_accelerate.ddp:DdpBackend"}
