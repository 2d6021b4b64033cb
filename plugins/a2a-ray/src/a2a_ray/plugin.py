"""What a2a-ray offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_launchers() -> Offers:
    """Ray Train."""
    return {"ray": "a2a_ray.launcher:RayLauncher"}
