import os
import subprocess
import sys
from pathlib import Path


def test_what_zero_holds_is_what_one_process_holds(tmp_path: Path) -> None:
    """On two ranks, every stage in turn: see `one_rank.py`."""
    here = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}  # ranks meet in a file
    script = Path(__file__).with_name("one_rank.py")
    ranks, logs = [], [tmp_path / f"{rank}.log" for rank in range(2)]
    for rank, log in enumerate(logs):
        given = here | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        with log.open("wb") as file:
            command = [sys.executable, str(script), str(tmp_path / "store"), str(rank)]
            ranks.append(subprocess.Popen(command, env=given, stdout=file, stderr=subprocess.STDOUT))
    try:
        codes = [each.wait(240) for each in ranks]
    finally:
        for each in ranks:
            each.kill()
            each.wait()
    assert codes == [0, 0], "\n".join(log.read_text() for log in logs)
