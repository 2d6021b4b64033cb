"""What this plugin offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_encoders() -> Offers:
    """Encoders of point clouds."""
    return {"pointnet": "a2a_pointcloud.pointnet:PointNetEncoder"}
