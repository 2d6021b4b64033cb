import io
import json
import re
import tarfile
import threading
import time
from collections import defaultdict, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from a2a_streaming import access


class Server(ThreadingHTTPServer):
    """Files by path, on loopback. What stands in `faults` of a path happens to the next requests for its bytes, one each."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.asked, self.ranges = {}, defaultdict(deque), [], True
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, address):
        """A client that does not wait is no error here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, body):
        path = self.path.split("?")[0]
        data = self.server.files.get(path)
        if data is None:
            self.send_error(404)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.server.ranges else None
        start, end = (int(wanted[1]), min(int(wanted[2]) + 1, len(data))) if wanted else (0, len(data))
        if body:
            self.server.asked.append((path, start, end))
        fault = self.server.faults[path].popleft() if body and self.server.faults[path] else None
        if fault == "slow":
            time.sleep(1)
        if isinstance(fault, int):
            self.send_error(fault)
            return
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(end - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.end_headers()
        if body:
            self.wfile.write(data[start : (start + end) // 2 if fault == "half" else end])
        if fault == "half":
            self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(access, "WAIT", 0.01)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def asked(monkeypatch):
    """(url, start, end) of everything that is read."""
    found = []
    read = access.Access.read

    def logged(self, url, start, end):
        found.append((url, start, end))
        return read(self, url, start, end)

    monkeypatch.setattr(access.Access, "read", logged)
    return found


def tar(rows, end=True):
    """An archive of (key, {field: bytes}); without its end, if so wished."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for key, fields in rows:
            for field, data in fields.items():
                member = tarfile.TarInfo(f"{key}.{field}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        size = archive.offset
    return file.getvalue() if end else file.getvalue()[:size]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows, group=3):
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=group)
    return file.getvalue()


def read(stream, lanes=1, seed=None, epoch=0):
    """All rows of all lanes."""
    return [list(stream.lane(lane, lanes, seed, epoch, None)) for lane in range(lanes)]
