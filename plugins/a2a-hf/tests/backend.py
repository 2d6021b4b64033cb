"""A backend for tests: this process, on the CPU."""

from collections.abc import Mapping
from typing import Any

from a2a_core import BackendConfig, hookimpl, option


class HereBackend(BackendConfig):
    """This process."""

    name = "here"
    device: str = option("the CPU", default="cpu")

    def arguments(self) -> Mapping[str, Any]:
        return {"use_cpu": True}


@hookimpl
def a2a_backends() -> dict[str, str]:
    return {"here": "backend:HereBackend"}
