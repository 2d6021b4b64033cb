"""The launcher `kubernetes`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from shlex import quote
from typing import Any, Literal, Self

from a2a_core import A2AError, option
from a2a_core.launchers import RECIPE, Launch, LauncherConfig, Written
from a2a_launch.manifests import jobset, pytorchjob
from a2a_launch.shell import STOPPED, arguments, attended, exported, spread, train

MANIFEST = "job.yaml"
PORT = 29400
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
LONGEST = 40
"""Characters of a job's name: what is made of it for pods and services may have 63."""
RECIPES = PurePosixPath("/etc/a2a")
"""Where the recipe lies in the containers."""


class KubernetesLauncher(LauncherConfig):
    """A manifest for Kubernetes: a JobSet, or a PyTorchJob of Kubeflow's training operator, a pod for each node.

    The recipe goes along as a ConfigMap; data, models and runs lie on volumes that all pods have. Each pod runs `a2a train`,
    which starts its ranks and meets the others at the first. A pod that is stopped saves before it ends, and goes on when it
    is started again.
    """

    name = "kubernetes"
    elsewhere = True
    image: str = option("the container image; it has a2a, the recipe's plugins, and `sh`")
    manifest: Literal["jobset", "pytorchjob"] = option("what the cluster understands", default="jobset")
    volumes: dict[str, str] = option("where each PersistentVolumeClaim lies: `volumes.data=/data`", default={})
    namespace: str = option("the namespace [default: the one that kubectl is set to]", default="")
    gpus: int | None = option("GPUs of each pod [default: `backend.processes`, none for the CPU]", default=None, ge=0)
    gpu_resource: str = option("what the cluster calls a GPU", default="nvidia.com/gpu")
    cpus: float | None = option("CPUs of each pod", default=None, gt=0)
    memory: str = option("memory of each pod, such as `64Gi`; shared memory counts", default="")
    environment: dict[str, str] = option("variables to set; what is secret belongs into `secrets`", default={})
    secrets: tuple[str, ...] = option("Secrets whose entries become variables", default=())
    labels: dict[str, str] = option("labels of the job, such as a queue's", default={})
    node_selector: dict[str, str] = option("labels of the nodes to run on", default={})
    restarts: int = option("how often the job is started again after a failure", default=3, ge=0)
    grace: int = option("seconds in which a stopped pod can save", default=600, gt=0)
    python: str = option("the interpreter in the image that has a2a", default="python")

    def check(self) -> None:
        """See Options."""
        exported(self.environment)
        for claim, path in self.volumes.items():
            if not LABEL.fullmatch(claim.replace(".", "-")):
                raise ValueError(f"`{claim}` cannot be a PersistentVolumeClaim's name")
            if not PurePosixPath(path).is_absolute() or PurePosixPath(path) == PurePosixPath("/"):
                raise ValueError(f"`volumes.{claim}` must be a folder, beginning with `/`, got `{path}`")

    def build(self, launch: Launch) -> Written:
        """See LauncherConfig."""
        import yaml

        if not self.mounted(str(launch.run)):
            raise A2AError(
                f"the run would lie in {launch.run}, which is on none of the volumes: it would end with its pod",
                hint="give a claim and runs on it: `--with volumes.data=/data --runs /data/runs`",
            )
        name = label(launch.name)
        recipe = {"apiVersion": "v1", "kind": "ConfigMap", "data": {RECIPE: launch.recipe}}
        if self.manifest == "jobset":
            job = jobset(name, launch.nodes, self.pod(launch, name, f"{name}-node-0-0.{name}"), self.restarts)
        else:
            job = pytorchjob(launch.nodes, self.pod(launch, name, f"{name}-master-0"), self.restarts)
        about = {"metadata": filled({"name": name, "namespace": self.namespace, "labels": dict(self.labels)})}
        both = [dict(sorted({**each, **about}.items())) for each in (recipe, job)]
        text = yaml.dump_all(both, Dumper=dumper(), sort_keys=False, allow_unicode=True, width=120)
        notes = [
            f"`{key}` is {path}, on none of the volumes: if the image does not have it, `--set {key}=…`"
            for key, path in launch.paths.items()
            if not self.mounted(path)
        ]
        return Written({MANIFEST: text}, f"kubectl apply -f {quote(str(launch.folder / MANIFEST))}", notes)

    @classmethod
    def tiny(cls, folder: Path) -> Self:
        """See Component.tiny."""
        return cls(image="registry/a2a:1", volumes={"data": "/data"})

    def mounted(self, path: str) -> bool:
        """Whether a path lies on a volume."""
        return any(PurePosixPath(path).is_relative_to(each) for each in self.volumes.values())

    def pod(self, launch: Launch, name: str, first: str) -> dict[str, Any]:
        """The specification of every pod, but for its restart policy."""
        volumes: list[dict[str, Any]] = [
            {"name": "recipe", "configMap": {"name": name}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},  # 64 MB, the default, are too few for loaders
        ]
        mounts = [
            {"name": "recipe", "mountPath": str(RECIPES), "readOnly": True},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ]
        for place, (claim, path) in enumerate(self.volumes.items()):
            volumes.append({"name": f"volume-{place}", "persistentVolumeClaim": {"claimName": claim}})
            mounts.append({"name": f"volume-{place}", "mountPath": path})
        container = {
            "name": "pytorch",  # the training operator looks for a container of this name
            "image": self.image,
            "command": ["sh", "-c", escaped(self.script(launch, first))],
            "ports": [{"name": "pytorchjob-port", "containerPort": PORT}],
            "env": [{"name": each, "value": value} for each, value in self.environment.items()],
            "envFrom": [{"secretRef": {"name": each}} for each in self.secrets],
            "resources": self.resources(launch.gpus(self.gpus)),
            "volumeMounts": mounts,
        }
        pod = {"terminationGracePeriodSeconds": self.grace, "nodeSelector": dict(self.node_selector)}
        return {**filled(pod), "containers": [filled(container)], "volumes": volumes}

    def script(self, launch: Launch, first: str) -> str:
        """What each pod runs: a run that was stopped and has saved is no success, or nothing would start it again."""
        several = spread(launch, str(launch.nodes), f"{first}:{PORT}")
        return f"""\
set -u
unset RANK WORLD_SIZE # the training operator counts pods
{arguments(launch.run, str(RECIPES / RECIPE))}
{attended(train(self.python) + several, "TERM")}
if [ "$code" -eq 0 ] && status "preempted"; then exit {STOPPED}; fi
exit "$code"
"""

    def resources(self, gpus: int) -> dict[str, dict[str, str]]:
        """Memory and GPUs are kept to, CPUs are asked for."""
        memory = {"memory": self.memory} if self.memory else {}
        cpus = {"cpu": f"{self.cpus:g}"} if self.cpus else {}
        return filled(
            {"requests": {**cpus, **memory}, "limits": {**memory, **({self.gpu_resource: str(gpus)} if gpus else {})}}
        )


def escaped(text: str) -> str:
    """So that Kubernetes, which reads `$(NAME)` in commands as a variable and `$$` as `$`, gives the text itself."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def label(name: str) -> str:
    """A run's name as Kubernetes takes it for objects, hosts and services; A2AError where nothing is left of it."""
    made = re.sub(r"[^a-z0-9]+", "-", name.lower()).lstrip("-0123456789")[:LONGEST].rstrip("-")
    if not made:
        raise A2AError(f"Kubernetes has no name for `{name}`: letters a to z, digits and `-`", hint="choose another with `-o`")
    return made


def filled(table: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is empty."""
    return {name: value for name, value in table.items() if value or value == 0}


def dumper() -> Any:
    """YAML as people write it: texts of several lines stand as they are."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Of our own, to leave everybody's as it is."""

        def ignore_aliases(self, data: Any) -> bool:
            """Pods that are the same are written twice."""
            return True

    def text(dumper: Any, value: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)

    Dumper.add_representer(str, text)
    return Dumper
