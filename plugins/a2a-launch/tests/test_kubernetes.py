"""The manifests, read back; and what the pods run, run."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from a2a_core import A2AError
from a2a_core.launchers import Launch
from a2a_launch.kubernetes import KubernetesLauncher, escaped, label

POD = {
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "nodeSelector",
    "containers",
    "volumes",
}
CONTAINER = {"name", "image", "command", "ports", "env", "envFrom", "resources", "volumeMounts"}
JOB = {"completionMode", "completions", "parallelism", "backoffLimit", "podFailurePolicy", "template"}


def read(launcher: KubernetesLauncher, task: Launch) -> tuple[dict[str, Any], dict[str, Any]]:
    """ConfigMap and job."""
    recipe, job = yaml.safe_load_all(launcher.build(task).files["job.yaml"])
    return recipe, job


@pytest.fixture
def here(tmp_path: Path) -> Callable[..., KubernetesLauncher]:
    """A launcher whose volume is where the tests' runs lie."""

    def made(**options: Any) -> KubernetesLauncher:
        return KubernetesLauncher(image="registry/a2a:1", volumes={"data": str(tmp_path)}, **options)

    return made


def test_a_jobset(launch: Callable[..., Launch], here: Callable[..., KubernetesLauncher], tmp_path: Path) -> None:
    options = {"cpus": 8, "memory": "64Gi", "environment": {"A": "1"}, "secrets": ("s3",), "labels": {"team": "x"}}
    launcher = here(namespace="ml", node_selector={"zone": "a"}, **options)
    recipe, job = read(launcher, launch("Digits 2!"))
    about = {"name": "digits-2", "namespace": "ml", "labels": {"team": "x"}}
    assert recipe == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": {"recipe.toml": "seed = 1\n"}}
    assert (job["apiVersion"], job["kind"], job["metadata"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet", about)
    assert set(job["spec"]) == {"network", "failurePolicy", "replicatedJobs"}
    assert job["spec"]["network"] == {"enableDNSHostnames": True, "subdomain": "digits-2"}
    assert job["spec"]["failurePolicy"]["maxRestarts"] == 3
    assert job["spec"]["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    [nodes] = job["spec"]["replicatedJobs"]
    inner = nodes["template"]["spec"]
    assert set(inner) == JOB
    assert (inner["completions"], inner["parallelism"], inner["backoffLimit"]) == (2, 2, 0)
    pod = inner["template"]["spec"]
    assert set(pod) == POD
    assert (pod["restartPolicy"], pod["nodeSelector"]) == ("Never", {"zone": "a"})
    [container] = pod["containers"]
    assert set(container) == CONTAINER
    assert container["name"] == inner["podFailurePolicy"]["rules"][0]["onExitCodes"]["containerName"]
    assert container["resources"] == {
        "requests": {"cpu": "8", "memory": "64Gi"},
        "limits": {"memory": "64Gi", "nvidia.com/gpu": "4"},
    }
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert container["envFrom"] == [{"secretRef": {"name": "s3"}}]
    assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    assert {each["mountPath"] for each in container["volumeMounts"]} == {"/etc/a2a", "/dev/shm", str(tmp_path)}
    assert "--set backend.nodes=2 --set backend.rendezvous=digits-2-node-0-0.digits-2:29400" in container["command"][2]


def test_a_pytorchjob(launch: Callable[..., Launch], here: Callable[..., KubernetesLauncher]) -> None:
    launcher = here(manifest="pytorchjob", restarts=7)
    _, job = read(launcher, launch(nodes=4))
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "PyTorchJob")
    assert set(job["spec"]) == {"runPolicy", "pytorchReplicaSpecs"}
    assert job["spec"]["runPolicy"] == {"backoffLimit": 7, "cleanPodPolicy": "Running"}
    roles = job["spec"]["pytorchReplicaSpecs"]
    assert {role: each["replicas"] for role, each in roles.items()} == {"Master": 1, "Worker": 3}
    assert {each["restartPolicy"] for each in roles.values()} == {"OnFailure"}
    [container] = roles["Master"]["template"]["spec"]["containers"]
    assert container["name"] == "pytorch"
    assert "backend.rendezvous=digits-master-0:29400" in container["command"][2]
    assert roles["Master"]["template"] == roles["Worker"]["template"]
    _, alone = read(launcher, launch(nodes=1, device="cpu"))
    assert list(alone["spec"]["pytorchReplicaSpecs"]) == ["Master"]
    assert "backend.rendezvous= " in str(alone)
    assert "gpu" not in str(alone)


def command(launcher: KubernetesLauncher, task: Launch) -> list[str]:
    """What a pod runs, as Kubernetes reads it."""
    _, job = read(launcher, task)
    found = job["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"][0]["command"]
    return [re.sub(r"\$\$", "$", each) for each in found]


def test_a_pod_that_is_stopped_is_no_success_until_the_run_is_done(
    launch: Callable[..., Launch], here: Callable[..., KubernetesLauncher], a2a: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    task = launch("it's $(HOME) $$")
    words = command(here(python=str(a2a.path)), task)
    a2a.ends("wait")
    pod = subprocess.Popen(words)
    until = time.monotonic() + 30
    while not a2a.told and time.monotonic() < until:
        time.sleep(0.02)
    pod.send_signal(signal.SIGTERM)
    assert pod.wait(30) == 143
    assert a2a.arguments[0][3:6] == ["/etc/a2a/recipe.toml", "--out", str(task.run)]
    assert not {"RANK", "WORLD_SIZE"} & set(a2a.told[0]["environment"])  # they count pods, not ranks
    for code in (2, 1, 0):
        a2a.ends(code)
        assert subprocess.run(words, check=False).returncode == code
        assert a2a.arguments[-1][3:6] == ["/etc/a2a/recipe.toml", "--resume", str(task.run)]
    assert subprocess.run(words, check=False).returncode == 0
    assert len(a2a.told) == 4


def test_runs_must_outlive_their_pods(launch: Callable[..., Launch]) -> None:
    with pytest.raises(A2AError, match="on none of the volumes"):
        KubernetesLauncher(image="x", volumes={"data": "/data"}).build(launch())


def test_files_that_lie_on_no_volume_are_told_of(launch: Callable[..., Launch], tmp_path: Path) -> None:
    import attrs

    paths = {"data.train.path": str(tmp_path / "train.jsonl"), "encoders.image.path": "/models/clip"}
    written = KubernetesLauncher(image="x", volumes={"data": str(tmp_path)}).build(attrs.evolve(launch(), paths=paths))
    assert [note.partition(",")[0] for note in written.notes] == ["`encoders.image.path` is /models/clip"]


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"volumes": {"data": "data"}}, "beginning with `/`"),
        ({"volumes": {"My Data": "/data"}}, "PersistentVolumeClaim"),
        ({"environment": {"A-B": "c"}}, "cannot be the name"),
    ],
)
def test_options_that_kubernetes_would_refuse_are_refused(options: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        KubernetesLauncher(image="x", **options)


@pytest.mark.parametrize(("name", "made"), [("Digits 2!", "digits-2"), ("7b_chat", "b-chat"), ("x" * 99, "x" * 40)])
def test_names_are_made_kubernetes_own(name: str, made: str) -> None:
    assert label(name) == made


def test_a_name_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(A2AError, match="has no name"):
        label("数字")


@pytest.mark.parametrize("text", ["plain", "$(X)", "$$(X)", "a$b", "$$", "$$$", "$($$("])
def test_kubernetes_reads_no_variable_into_a_command(text: str) -> None:
    expanded = re.sub(r"\$\$|\$\((\w+)\)", lambda found: "variable" if found[1] else "$", escaped(text))
    assert expanded == text
