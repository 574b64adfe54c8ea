"""A server that plays OpenAI's dialect of HTTP by the byte, faults too: each request gets what the test has written for it."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Play = Callable[[socket.socket, Request], object]
"""Answers one request on its connection, which is closed afterwards."""


@dataclass
class Server:
    """The server, what it was asked, and when a client hung up on an answer that was under way (`time.monotonic`)."""

    url: str
    requests: list[Request] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)
    hung_up_at: float = 0.0

    def wait_for_hang_up(self, connection: socket.socket) -> None:
        """Returns once the client has closed the connection."""
        try:
            while connection.recv(1024):
                pass
        except OSError:
            pass
        self.hung_up_at = time.monotonic()
        self.hung_up.set()


@contextmanager
def serving(*plays: Play, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Plays one after another, the last one again and again."""
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "https" if tls else "http"
    server = Server(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/v1")
    waiting = list(plays)

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                if tls:
                    connection = tls.wrap_socket(connection, server_side=True)
                request = read_request(connection)
                if request is None:
                    return
                server.requests.append(request)
                play = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                play(connection, request)
                connection.close()
            except OSError:
                # The client went first, which some tests are about.
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        # A listener that is only closed would go on accepting in its thread.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def read_request(connection: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += connection.recv(65536)
    return Request(method, path, headers, json.loads(body) if body else None)


def head(status: str = "200 OK", content_type: str = "text/event-stream", **headers: str) -> bytes:
    """The head of an answer that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def event(content: object) -> bytes:
    """One server-sent event."""
    return b"data: " + (content if isinstance(content, bytes) else json.dumps(content).encode()) + b"\n\n"


def piece(finish_reason: str | None = None, logprobs: object = None, **delta: object) -> bytes:
    """A piece of an answer."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
    return event({"object": "chat.completion.chunk", "choices": [choice]})


def usage(**counters: object) -> bytes:
    """The piece that tells the tokens."""
    return event({"choices": [], "usage": counters})


DONE = event(b"[DONE]")


def stream(*pieces: bytes, content_type: str = "text/event-stream") -> Play:
    """Sends these pieces."""
    return lambda connection, _: connection.sendall(head(content_type=content_type) + b"".join(pieces))


def bytewise(*pieces: bytes) -> Play:
    """Sends every byte by itself."""

    def play(connection: socket.socket, _: Request) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(head())
        for byte in b"".join(pieces):
            connection.sendall(bytes([byte]))

    return play


def says(*texts: str) -> Play:
    """A sound answer."""
    pieces = [piece(content=text) for text in texts]
    return stream(*pieces, piece("stop"), usage(prompt_tokens=5, completion_tokens=len(texts)), DONE)


def refuses(status: str, body: object, content_type: str = "application/json", **headers: str) -> Play:
    """An error."""
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda connection, _: connection.sendall(head(status, content_type, **headers) + text.encode())


def error(message: str, **more: object) -> dict[str, object]:
    """OpenAI's shape of an error."""
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def by_path(**plays: Play) -> Play:
    """Chooses by the last word of the path."""
    return lambda connection, request: plays[request.path.rsplit("/", 1)[-1]](connection, request)


def models(*names: str) -> Play:
    """The list of models."""
    return answers({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})


def answers(content: object) -> Play:
    """A whole answer in JSON."""
    return refuses("200 OK", content)


