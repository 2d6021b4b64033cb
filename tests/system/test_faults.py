"""What kills a training, done to it for real; `benchmarks/faults.py` does more of it, and to ranks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "faults.py"
FAULTS = ("killed", "export-killed", "told", "worker-killed", "disk-full", "checkpoint-damaged", "state-lost", "two-runs")


@pytest.fixture(scope="module")
def tried() -> dict[str, dict[str, str]]:
    """All of them in one process, which pays for imports once."""
    command = [sys.executable, str(BENCHMARK), "--few", "--json", *FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    return {line["fault"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_goes_on_to_the_same_weights(tried: dict[str, dict[str, str]], fault: str) -> None:
    if tried[fault]["ended"] == "skipped":
        pytest.skip(tried[fault]["outcome"])
    assert tried[fault]["ended"] == "as it should", tried[fault]["outcome"]
