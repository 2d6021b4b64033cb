"""A model that is divided among two ranks, and one that is not."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("one_rank.py")


def test_two_ranks(tmp_path: Path) -> None:
    """See one_rank.py: gradients, norms, communication, an update, its state, weights, statistics."""
    here = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # ranks meet in a file
    logs = [tmp_path / f"{rank}.log" for rank in range(2)]
    ranks = []
    for rank, log in enumerate(logs):
        command = [sys.executable, "-W", "error::UserWarning:torch", str(SCRIPT), str(rank), str(tmp_path / "store")]
        with log.open("wb") as file:
            env = {**here, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            ranks.append(subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(300) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    assert codes == [0, 0], "\n".join(log.read_text() for log in logs)
