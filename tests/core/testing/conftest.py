"""How deliberate faults are judged."""

from __future__ import annotations

from typing import Any

import pytest

from a2a_core.testing import CheckResult, checks

APART = {"imports_nothing_heavy"}  # these components live in test modules, which import torch


class Judgement:
    """`judge(component)` says which checks fail, `judge.says` one's message, `judge.skips` which do not apply."""

    def __init__(self) -> None:
        self.known: list[tuple[Any, dict[str, CheckResult]]] = []

    def results(self, component: Any) -> dict[str, CheckResult]:
        for known, results in self.known:
            if known is component:
                return results
        every = {check.name: check.result() for check in checks(component) if check.name not in APART}
        self.known.append((component, every))
        return every

    def __call__(self, component: Any) -> set[str]:
        return {name for name, result in self.results(component).items() if not result.passed and not result.skipped}

    def says(self, component: Any, check: str) -> str:
        result = self.results(component)[check]
        assert not result.passed, f"{check} passes"
        assert not result.skipped, result.message
        return result.message

    def skips(self, component: Any) -> set[str]:
        return {name for name, result in self.results(component).items() if result.skipped}


@pytest.fixture
def judge() -> Judgement:
    return Judgement()
