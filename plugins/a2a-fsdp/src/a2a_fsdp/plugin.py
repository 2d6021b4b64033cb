"""What a2a-fsdp offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_backends() -> Offers:
    """Sharded over several processes."""
    return {"fsdp": "a2a_fsdp.fsdp:FsdpBackend"}
