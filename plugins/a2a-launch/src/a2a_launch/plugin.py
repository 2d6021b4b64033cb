"""What a2a-launch offers."""

from a2a_core.hookspecs import Offers, hookimpl


@hookimpl
def a2a_launchers() -> Offers:
    """What other engines start a run from."""
    return {
        "kubernetes": "a2a_launch.kubernetes:KubernetesLauncher",
        "script": "a2a_launch.script:ScriptLauncher",
        "slurm": "a2a_launch.slurm:SlurmLauncher",
    }
