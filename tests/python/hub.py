"""A server on this machine that speaks as much of the Hugging Face Hub as a pull uses, and misbehaves on request.

The shapes are the Hub's own: `/api/models/REPOSITORY/revision/main?blobs=true`, `/REPOSITORY/resolve/COMMIT/FILE` that redirects to
where the bytes are and says their size and digest in `X-Linked-*`, and ranges there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIECE = 64 * 1024


@functools.lru_cache
def digest(data: bytes) -> str:
    """The SHA-256 of a file, computed once: a busy machine would be too slow with it for those who wait a second."""
    return hashlib.sha256(data).hexdigest()


class Hub:
    """`files` of one repository by their paths there; every fault is counted down as it happens."""

    def __init__(self, repository: str, files: dict[str, bytes]):
        self.repository, self.files = repository, files
        self.lock = threading.Lock()
        self.released = threading.Event()
        #: bytes a second and connection; 0 is no limit
        self.rate = 0
        #: answers that break off in the middle, stall in the middle, or have one byte changed
        self.drops = self.stalls = self.corruptions = 0
        #: whether the bytes can be had in ranges
        self.ranges = True
        #: where files are redirected to instead
        self.redirect: str | None = None
        #: statuses that are answered before the bytes are
        self.refusals: list[int] = []
        #: what was asked for: path, range, token
        self.requests: list[tuple[str, str | None, str | None]] = []
        self.sent = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Who asked was killed."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def url(self, file: str) -> str:
        """Where the bytes of a file are, without the Hub around them."""
        return f"{self.address}/bytes/{file}"

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def take(self, fault: str) -> bool:
        with self.lock:
            left = getattr(self, fault)
            setattr(self, fault, max(0, left - 1))
            return left > 0

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        with self.lock:
            self.requests.append((path, request.headers.get("Range"), request.headers.get("Authorization")))
        if path == f"/api/models/{self.repository}/revision/main":
            return self.listing(request)
        resolve = f"/{self.repository}/resolve/{COMMIT}/"
        if path.startswith(resolve) and path[len(resolve) :] in self.files:
            return self.link(request, path[len(resolve) :])
        if path.startswith("/bytes/") and path[len("/bytes/") :] in self.files:
            return self.bytes(request, self.files[path[len("/bytes/") :]])
        if path == "/page":
            return self.whole(request, 200, b"<!doctype html><title>Log in</title>", "text/html; charset=utf-8")
        if path.startswith("/to/"):
            return self.whole(request, 302, b"", location=path[len("/to/") :])
        return self.whole(request, 404, b'{"error": "Repository not found"}', "application/json")

    def listing(self, request: BaseHTTPRequestHandler) -> None:
        siblings = [
            {"rfilename": name, "size": len(data), "lfs": {"sha256": digest(data), "size": len(data)}}
            for name, data in self.files.items()
        ]
        content = {"sha": COMMIT, "siblings": [{"rfilename": "README.md", "size": 1}, *siblings], "cardData": {"license": "mit"}}
        self.whole(request, 200, json.dumps(content).encode(), "application/json")

    def link(self, request: BaseHTTPRequestHandler, file: str) -> None:
        data = self.files[file]
        request.send_response(302)
        request.send_header("Location", self.redirect or f"/bytes/{file}?signature=planted-signature")
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("X-Linked-Size", str(len(data)))
        request.send_header("X-Linked-Etag", f'"{digest(data)}"')
        request.send_header("Content-Length", "0")
        request.end_headers()

    def whole(self, request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "text/plain", location: str = "") -> None:
        request.send_response(status)
        if location:
            request.send_header("Location", location)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def bytes(self, request: BaseHTTPRequestHandler, data: bytes) -> None:
        if self.refusals:
            return self.whole(request, self.refusals.pop(), b"")
        start, end = 0, len(data)
        asked = request.headers.get("Range")
        partial = bool(asked) and self.ranges
        if partial:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, len(data))
        request.send_response(206 if partial else 200)
        request.send_header("Content-Type", "application/octet-stream")
        request.send_header("Content-Length", str(end - start))
        request.send_header("ETag", f'"{digest(data)}"')
        if partial:
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        request.end_headers()
        try:
            self.pour(request, data, start, end)
        except OSError:
            request.close_connection = True

    def pour(self, request: BaseHTTPRequestHandler, data: bytes, start: int, end: int) -> None:
        # The first four bytes, asked for alone, are no place for a fault.
        middle = (start + end) // 2 if end - start > PIECE else None
        fault = None
        if middle is not None:
            fault = next((name for name in ("drops", "stalls", "corruptions") if self.take(name)), None)
        for at in range(start, end, PIECE):
            piece = data[at : min(at + PIECE, end)]
            if fault and at >= middle:
                if fault == "drops":
                    raise ConnectionError("dropped")
                if fault == "stalls":
                    self.released.wait(60)
                    raise ConnectionError("stalled")
                piece = bytes([piece[0] ^ 1]) + piece[1:]
                fault = None
            request.wfile.write(piece)
            with self.lock:
                self.sent += len(piece)
            if self.rate:
                time.sleep(len(piece) / self.rate)
