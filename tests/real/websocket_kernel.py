"""A kernel of a Jupyter server, as a browser reaches it: started over HTTP, and one WebSocket to all its channels."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Callable

import websocket
from conftest import PATIENCE

Message = dict


class WebSocketKernel:
    """A kernel that was started over HTTP, and one WebSocket to all its channels."""

    def __init__(self, address: str):
        self.address = address
        kernel = self.http("POST", "/api/kernels", {"name": "perilune"})
        self.path = f"/api/kernels/{kernel['id']}"
        self.session = uuid.uuid4().hex
        self.socket = websocket.create_connection(
            f"ws{address.removeprefix('http')}{self.path}/channels?session_id={self.session}", timeout=PATIENCE
        )

    def restart(self) -> None:
        """Returns when the new process's publications arrive: its iopub is connected to independently of its shell, and may be later."""
        self.http("POST", f"{self.path}/restart")
        deadline = time.monotonic() + PATIENCE
        self.socket.settimeout(1)
        while time.monotonic() < deadline:
            try:
                self.gather(self.send("kernel_info_request", {}), lambda messages: of_kind(messages, "status"))
                break
            except websocket.WebSocketTimeoutException:
                continue
        self.socket.settimeout(PATIENCE)

    def http(self, method: str, path: str, body: object = None) -> dict | None:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            text = reply.read()
        return json.loads(text) if text else None

    def close(self) -> None:
        self.socket.close()
        self.http("DELETE", self.path)

    def send(self, kind: str, content: dict, channel: str = "shell") -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": self.session, "username": "", "version": "5.5", "date": ""}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel, "buffers": []}
        self.socket.send(json.dumps(message))
        return header["msg_id"]

    def start(self, code: str) -> str:
        return self.send("execute_request", {"code": code, "silent": False, "allow_stdin": False, "stop_on_error": True})

    def gather(self, request: str, until: Callable[[list[Message]], object]) -> list[Message]:
        """What answers that request, up to the moment when `until` is content with it."""
        messages: list[Message] = []
        while not until(messages):
            message = json.loads(self.socket.recv())
            if message["parent_header"].get("msg_id") == request:
                messages.append(message)
        return messages

    def execute(self, code: str) -> list[Message]:
        return self.gather(self.start(code), finished)


def of_kind(messages: list[Message], kind: str) -> list[dict]:
    return [message["content"] for message in messages if message["msg_type"] == kind]


def finished(messages: list[Message]) -> bool:
    idle = any(content["execution_state"] == "idle" for content in of_kind(messages, "status"))
    return idle and bool(of_kind(messages, "execute_reply"))


def stdout(messages: list[Message]) -> str:
    return "".join(content["text"] for content in of_kind(messages, "stream"))
