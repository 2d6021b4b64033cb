"""Kubernetes' two ways to say: so many pods that train together."""

from __future__ import annotations

from typing import Any

MISTAKE = 2
"""a2a's exit code for input that is wrong: starting again helps nobody."""


def jobset(name: str, nodes: int, pod: dict[str, Any], restarts: int) -> dict[str, Any]:
    """A JobSet (jobset.sigs.k8s.io): pods by index; where one fails, all are started again."""
    policy = {"action": "FailJob", "onExitCodes": {"containerName": "pytorch", "operator": "In", "values": [MISTAKE]}}
    job = {
        "completionMode": "Indexed",
        "completions": nodes,
        "parallelism": nodes,
        "backoffLimit": 0,
        "podFailurePolicy": {"rules": [policy]},
        "template": {"spec": {"restartPolicy": "Never", **pod}},
    }
    mistaken = {"name": "mistake", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": name},
            "failurePolicy": {"maxRestarts": restarts, "rules": [mistaken]},
            "replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": job}}],
        },
    }


def pytorchjob(nodes: int, pod: dict[str, Any], restarts: int) -> dict[str, Any]:
    """A PyTorchJob (kubeflow.org/v1): a master, where all meet, and workers; each pod is started again by itself."""
    replicas = {"Master": 1, "Worker": nodes - 1}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "spec": {
            "runPolicy": {"backoffLimit": restarts, "cleanPodPolicy": "Running"},
            "pytorchReplicaSpecs": {
                role: {"replicas": count, "restartPolicy": "OnFailure", "template": {"spec": pod}}
                for role, count in replicas.items()
                if count
            },
        },
    }
