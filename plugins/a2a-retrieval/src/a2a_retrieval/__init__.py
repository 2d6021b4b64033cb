"""Whatever belongs to a query, found: dual encoders, late interaction, and what trains, measures and uses them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a2a_retrieval.predictor import Hit, Predictor

__all__ = ["Hit", "Predictor"]


def __getattr__(name: str) -> Any:
    """What is imported when it is asked for: it needs torch, which config classes do not."""
    if name in __all__:
        from a2a_retrieval import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
