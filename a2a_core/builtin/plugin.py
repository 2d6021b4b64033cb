"""What the core offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_encoders() -> Offers:
    """A stand-in for any other."""
    return {"dummy": "a2a_core.builtin.dummy:DummyEncoder"}


@hookimpl
def a2a_projectors() -> Offers:
    """A linear projector: put in wherever widths differ and the recipe names none."""
    return {"linear": "a2a_core.builtin.linear:LinearProjector"}


@hookimpl
def a2a_collators() -> Offers:
    """The collator of recipes that name none."""
    return {"pad": "a2a_core.builtin.pad:PadCollator"}
