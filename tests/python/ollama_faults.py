"""A loopback server that answers as an Ollama whose connection, proxy or version is at fault. What it plays was recorded from Ollama
0.17.4 (or is cut out of that); it computes nothing and counts for nothing as an Ollama: tests/real has a real one."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NDJSON = "application/x-ndjson"
JSON = "application/json; charset=utf-8"

MODEL = {
    "name": "moonlet:latest",
    "model": "moonlet:latest",
    "size": 5493755,
    "digest": "8481f9cdadbd3642dfde145cea7b24f8f79c43c1a45940ec41679f5e51fa7cc0",
    "details": {"format": "gguf", "family": "llama", "parameter_size": "5.12M", "quantization_level": "Q8_0"},
}


@dataclass
class Reply:
    """A whole reply, or the pieces of one as they go out: each a write of its own, so that a reader sees where they are cut."""

    pieces: list[bytes]
    status: int = 200
    kind: str = NDJSON
    headers: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    """Whether the reply ends as HTTP wants it, with a last chunk."""
    stalls: bool = False
    """Whether it says nothing more then, and keeps the connection until the client gives it up."""


def lines(*objects: dict[str, Any]) -> Reply:
    return Reply([json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects])


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "moonlet", "message": {"role": "assistant", "content": text}, "done": False} | more


def done(reason: str = "stop", **more: Any) -> dict[str, Any]:
    counters = {"prompt_eval_count": 10, "eval_count": 11}
    return said("", done=True, done_reason=reason) | (more or counters)


def failed(status: int, error: str, **headers: str) -> Reply:
    return Reply([json.dumps({"error": error}).encode()], status, JSON, headers)


@dataclass
class Server:
    """What it was asked, and what it answers: a reply for each path, or a function of the request's body."""

    address: str
    replies: dict[str, Reply | Callable[[dict[str, Any]], Reply]]
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client left a reply that stalls."""

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for asked, body, _ in self.asked if asked == path]


@contextlib.contextmanager
def server(prefix: str = "") -> Iterator[Server]:
    """A server below the path `prefix` that has moonlet, with nothing in memory."""
    state = Server("", {})
    state.replies = {
        "/api/version": Reply([b'{"version":"0.17.4"}'], kind=JSON),
        "/api/tags": Reply([json.dumps({"models": [MODEL]}).encode()], kind=JSON),
        "/api/ps": Reply([b'{"models":[]}'], kind=JSON),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            path = self.path.removeprefix(prefix) if self.path.startswith(prefix + "/") else "outside of " + prefix
            state.asked.append((path, body, dict(self.headers)))
            reply = state.replies.get(path, failed(404, f"no {self.path} here"))
            self.play(reply(body) if callable(reply) else reply)

        def play(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Transfer-Encoding", "chunked")
            for name, value in reply.headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            for piece in reply.pieces:
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                self.wfile.flush()
            if reply.stalls:
                self.connection.recv(1)
                state.left.set()
            elif reply.whole:
                self.wfile.write(b"0\r\n\r\n")
            if reply.stalls or not reply.whole:
                self.close_connection = True

        do_GET = do_POST = do_DELETE = do_HEAD = answer

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    state.address = f"http://127.0.0.1:{listener.server_address[1]}{prefix}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
