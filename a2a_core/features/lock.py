"""One writer at a time: a lock that the system takes back however its holder ends."""

from __future__ import annotations

import errno
import fcntl
import os
import time
import weakref
from pathlib import Path

READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
PAUSE = 0.1


class Lock:
    """An exclusive lock between processes. Its file is never deleted: a waiter would hold one that nobody else can see.

    On a file system without locks everybody gets it, but nobody `held` it: features may be computed twice then, and are right
    all the same; what others may be writing is not to be deleted. So does who may not even open its file, and writes nothing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: int | None = None
        self.held = False
        """Whether nobody else can have it."""

    def take(self, wait: float = 0.0) -> bool:
        """Whether it was free, or became free within `wait` seconds; OSError where it cannot be made."""
        try:
            file = self.open()
        except OSError as error:
            if error.errno in READ_ONLY:
                return True
            raise
        until = time.monotonic() + wait
        try:
            while (got := locked(file)) is False:
                if time.monotonic() >= until:
                    os.close(file)
                    return False
                time.sleep(PAUSE)
        except OSError:
            os.close(file)
            raise
        self.file, self.held, self.end = file, got is True, weakref.finalize(self, os.close, file)
        return True

    def open(self) -> int:
        """Its file, made where it is not there; another user's is read."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            if error.errno not in READ_ONLY or not self.path.exists():
                raise
        return os.open(self.path, os.O_RDONLY)

    def release(self) -> None:
        """Give it back; nothing where it is not held."""
        if self.file is not None:
            if self.held:
                fcntl.flock(self.file, fcntl.LOCK_UN)  # for workers that were forked with it, too
            self.end()
            self.file, self.held = None, False


def locked(file: int) -> bool | None:
    """Try once; None where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return None
    return True
