"""Ranges of files, wherever fsspec reaches: each request has a time limit, and is made again after a while if it failed.

A range is asked for, and nothing is kept open: what fails is asked for again from the byte where it failed, and a row in the
middle of a file costs no more than the first.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from fsspec.asyn import AsyncFileSystem, sync
from fsspec.core import url_to_fs

from a2a_core.errors import A2AError

T = TypeVar("T")
WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds before a request is made again: the first time, doubled with each, and at the most."""
SMALLEST, LARGEST = 1 << 16, 1 << 22
"""Bytes of a block: what is read first, doubled as long as a file is read in order, and at the most."""
BUSY = {408, 425, 429}
"""Answers of a server that may be others a moment later, beside those from 500 on."""


class Access(NamedTuple):
    """How files are reached: options of their file system, attempts beside the first, seconds that a request may take."""

    options: Mapping[str, Any]
    retries: int = 3
    timeout: float = 60.0

    def size(self, url: str) -> int:
        """Bytes of a file; OSError where it cannot be read."""
        found = self.tried(lambda: self.call(url, "info")["size"])
        if found is None:
            raise OSError("the server does not say how long the file is")
        return int(found)

    def read(self, url: str, start: int, end: int) -> bytes:
        """Bytes of a file, all that were asked for; OSError where they cannot be had."""

        def request() -> bytes:
            found: bytes = self.call(url, "cat_file", start=start, end=end)
            if len(found) != end - start:
                text = f"{end - start} bytes were asked for, {len(found)} came"
                raise OSError(text + (WHOLE if len(found) > end - start else ""))
            return found

        return self.tried(request) if end > start else b""

    def tried(self, request: Callable[[], T]) -> T:
        """What a request gives; OSError that says why it gives nothing, and how often it was made."""
        attempts = 0
        while True:
            attempts += 1
            try:
                return request()
            except A2AError:
                raise
            except Exception as error:  # every file system has exceptions of its own
                if attempts > self.retries or not passing(error):
                    often = f" (tried {attempts} times)" if attempts > 1 else ""
                    raise OSError(f"{explained(error, self.timeout)}{often}") from error
            time.sleep(min(WAIT * 2 ** (attempts - 1), LONGEST_WAIT))

    def call(self, url: str, method: str, **arguments: Any) -> Any:
        """A method of a file's file system, within the time limit where the file system can be interrupted."""
        system, path = reached(url, self.options)
        if isinstance(system, AsyncFileSystem):
            return sync(system.loop, getattr(system, f"_{method}"), path, timeout=self.timeout, **arguments)
        return getattr(system, method)(path, **arguments)


WHOLE = ": the server does not give parts of a file (HTTP ranges), as it must to go on in the middle of one"


def reached(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The file system of a URL or path, one for a process, and what it calls the file; A2AError where none is installed."""
    if "://" not in url:
        url = f"file://{url}"
    protocol = url.split("://", 1)[0].split("::")[-1]
    options = dict(options)
    if protocol in ("http", "https"):  # a text that is squeezed on its way has no bytes to count
        options["headers"] = {"Accept-Encoding": "identity", **options.get("headers", {})}
    try:
        found: tuple[Any, str] = url_to_fs(url, **options)
    except ImportError as error:
        hint = INSTALL.get(protocol, "")
        raise A2AError(
            f"nothing that is installed reads `{protocol}://`: {error}", hint=hint and f"python -m pip install {hint}"
        ) from None
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise A2AError(
            f"nothing that is installed reads `{protocol}://`", hint="install the package of fsspec that does, or mend the URL"
        ) from None
    return found


INSTALL = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "sftp": "paramiko",
    "ssh": "paramiko",
    "oss": "ossfs",
    "hdfs": "pyarrow",
}
"""What reads a protocol."""


def cause(error: BaseException) -> BaseException:
    """What fsspec hides behind "not found": for it, a server that fails has no file."""
    behind = error.__cause__
    return behind if isinstance(error, FileNotFoundError) and behind is not None else error


def passing(error: Exception) -> bool:
    """Whether it may go better another time."""
    error_, status = cause(error), getattr(cause(error), "status", None)
    if isinstance(status, int):
        return status >= 500 or status in BUSY
    return not isinstance(error_, (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError))


def explained(error: Exception, timeout: float) -> str:
    """In words."""
    behind = cause(error)
    status = getattr(behind, "status", None)
    if isinstance(status, int) and status != 404:
        return f"the server answers {status} {getattr(behind, 'message', '')}".rstrip()
    if isinstance(behind, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(behind, FileNotFoundError) or status == 404:
        return "there is no such file"
    return str(behind).strip() or type(behind).__name__


class Reader(io.RawIOBase):
    """A file as Python has them, read in blocks that grow as long as they are read one after the other.

    `largest`: bytes of a block at the most; a longer piece that is asked for at once is read at once.
    """

    def __init__(self, access: Access, url: str, largest: int = LARGEST) -> None:
        self.access, self.url, self.largest = access, url, largest
        self.size = access.size(url)
        self.at = self.first = 0
        self.block = b""
        self.ahead = min(SMALLEST, largest)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Reads nothing."""
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, fewer at the end of the file alone."""
        end = self.size if size is None or size < 0 else min(self.at + size, self.size)
        start = self.at - self.first
        if not (start >= 0 and end <= self.first + len(self.block)):
            self.fetch(end)
            start = 0
        found = self.block[start : start + max(end - self.at, 0)]
        self.at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        """As `read`."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def fetch(self, end: int) -> None:
        """A block that begins where the next byte is read and goes to `end` at least."""
        start = self.at - self.first
        onward = 0 <= start <= len(self.block) > 0
        self.ahead = min(2 * self.ahead if onward else SMALLEST, self.largest)
        kept = self.block[start:] if onward else b""
        self.block = b""  # before the next one is there
        begin = self.at + len(kept)
        more = self.access.read(self.url, begin, min(max(end, begin + self.ahead), self.size))
        self.block, self.first = kept + more, self.at

    def piece(self) -> bytes:
        """Some bytes from here on, in the size that is read at once; none at the end of the file."""
        rest = len(self.block) - (self.at - self.first)
        return self.read(rest if 0 < rest <= len(self.block) else self.ahead)
