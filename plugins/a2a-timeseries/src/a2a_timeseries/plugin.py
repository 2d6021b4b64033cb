"""What this plugin offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_encoders() -> Offers:
    """Encoders of series."""
    return {"series": "a2a_timeseries.series:SeriesEncoder"}
