"""A web server on loopback that fails: a process that serves a folder's files."""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULTS = (500, "half", "slow")


class Handler(BaseHTTPRequestHandler):
    """Parts of files, every third of them late, cut off, or refused; what is called `lost` is refused always."""

    protocol_version = "HTTP/1.1"
    folder: Path
    asked = itertools.count(1)

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        file = self.folder / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        data, number = file.read_bytes(), next(self.asked) if body else 0
        fault = 500 if "lost" in file.name and body else FAULTS[number // 3 % 3] if number % 3 == 2 else None
        if fault is not None:
            with (self.folder / "faults").open("a") as log:
                log.write(f"{fault}\n")
        if fault == 500:
            self.send_error(500)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(wanted[1]), min(int(wanted[2]) + 1, len(data))) if wanted else (0, len(data))
        if fault == "slow":
            time.sleep(3)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(end - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        if body:
            with suppress(OSError):  # who did not wait has gone
                self.wfile.write(data[start : (start + end) // 2 if fault == "half" else end])
        self.close_connection = self.close_connection or fault == "half"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Its address, as long as it is there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Handler,), {"folder": folder}))
    if (pid := os.fork()) == 0:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.serve_forever()
    server.server_close()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
