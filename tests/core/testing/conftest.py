"""How deliberate faults are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from a2a_core.testing import CheckResult, checks

Judge = Callable[[Any], dict[str, CheckResult]]
APART = {"imports_nothing_heavy"}  # these components live in test modules, which import torch


def judged(component: Any) -> dict[str, CheckResult]:
    return {check.name: check.result() for check in checks(component) if check.name not in APART}


class Judgement:
    """`judge(component)` says which checks fail; `judge.says(component, check)` gives one's message."""

    def __call__(self, component: Any) -> set[str]:
        return {name for name, result in judged(component).items() if not result.passed and not result.skipped}

    def says(self, component: Any, check: str) -> str:
        result = judged(component)[check]
        assert not result.passed, f"{check} passes"
        return result.message

    def skips(self, component: Any) -> set[str]:
        return {name for name, result in judged(component).items() if result.skipped}


@pytest.fixture
def judge() -> Judgement:
    return Judgement()
