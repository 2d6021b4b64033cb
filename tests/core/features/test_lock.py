import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from a2a_core.features import lock
from a2a_core.features.lock import Lock

HOLD = """
import sys, time
from pathlib import Path
from a2a_core.features.lock import Lock
lock = Lock(Path(sys.argv[1]))
print(lock.take(), flush=True)
time.sleep(60)
"""


def test_one_at_a_time(tmp_path: Path) -> None:
    one, other = Lock(tmp_path / "locks" / "x"), Lock(tmp_path / "locks" / "x")
    assert one.take()
    began = time.monotonic()
    assert not other.take(0.2)
    assert time.monotonic() - began >= 0.2
    one.release()
    one.release()
    assert other.take()
    other.release()


def test_a_killed_holder_holds_no_more(tmp_path: Path) -> None:
    path = tmp_path / "x"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "True\n"
    waiting = Lock(path)
    assert not waiting.take()
    process.kill()
    assert waiting.take(wait=10)
    waiting.release()
    process.communicate()


def test_a_lock_that_nobody_needs_any_more_is_closed(tmp_path: Path) -> None:
    Lock(tmp_path / "x").take()
    assert Lock(tmp_path / "x").take()


def test_without_locks_everybody_gets_it_and_nobody_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    taken = Lock(tmp_path / "x")
    assert taken.take()
    assert not taken.held
    taken.release()


def test_a_lock_that_may_only_be_read_is_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user made its file; root may write it all the same, so that the system's answer is put on."""
    real = os.open

    def refused(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *more)

    mine, its = Lock(tmp_path / "x"), Lock(tmp_path / "x")
    assert mine.take()
    monkeypatch.setattr(lock.os, "open", refused)
    assert not its.take()
    mine.release()
    assert its.take()
    assert its.held
    its.release()
    assert Lock(tmp_path / "none").take(), "who cannot make it writes nothing"
