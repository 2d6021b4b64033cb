"""Which encoders are kept, and what is said of those that are not."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from a2a_core import A2AError
from a2a_core.job import Job


def cached(job: Job) -> Job:
    job.cache_features(torch.device("cpu"), nullcontext, 0)
    return job


def test_one_pass_is_not_worth_it_unless_asked_for(kit: Any) -> None:
    kit.passes = 1.0
    assert cached(kit()).data["train"].features == {}
    assert cached(kit(cache=True)).data["train"].features.keys() == {"left"}


def test_what_is_trained_cannot_be_kept(kit: Any) -> None:
    job = kit()
    job.model.encoders["left"].requires_grad_(True)
    assert cached(job).data["train"].features == {}
    job = kit(cache=True)
    job.model.encoders["left"].requires_grad_(True)
    with pytest.raises(A2AError, match=r"`encoders.left.cache = true`: something in it is trained"):
        cached(job)


def test_whether_tokens_are_rounded_depends_on_no_disk(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_CACHE_LIMIT", "500")
    cached(kit())
    with pytest.raises(A2AError, match='`encoders.left.cache_dtype = "bfloat16"`: its features'):
        cached(kit(cache_dtype="bfloat16"))


def test_the_run_says_what_was_kept(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cached(kit()).run.state["features"] == {"left": "kept"}
    monkeypatch.setenv("A2A_CACHE_LIMIT", "500")
    assert cached(kit(seed=1)).run.state["features"]["left"].startswith("computed each time: its features")


def test_an_encoder_with_a_cache_of_its_own_is_computed(kit: Any) -> None:
    job = cached(kit(use="strange"))
    assert job.data["train"].features == {}
    assert job.reporter.texts == []
    job = kit(use="strange")
    job.model.encoders["left"].requires_grad_(True)
    cached(job)
